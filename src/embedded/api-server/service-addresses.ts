import type { KubeObject } from "../../api/index.ts";
import { invalidValue } from "../core/api/field-error.ts";
import { arrayAt, isObject, numberAt, objectAt, objectsAt, stringAt } from "../core/api/json.ts";
import { invalid } from "../core/api/status-error.ts";
import type { Draft } from "./write-request.ts";

/** 10.96.0.0/12, as kubeadm's default; .0.0 and .0.1 stay free (network, `kubernetes`). */
const FIRST_IP = (10 << 24) + (96 << 16) + 2;
const IP_COUNT = 2 ** 20 - 3;
const FIRST_NODE_PORT = 30_000;
const NODE_PORT_COUNT = 2768;
const SERVICE = { group: "", kind: "Service" };

/**
 * Gives a Service on its way in the addresses the server owes it: a cluster IP (kept on update,
 * none for ExternalName) and node ports. `services` are all there are. Throws StatusError 422 when
 * an address asked for is taken.
 */
export function allocateAddresses(
  draft: Draft,
  old: KubeObject | undefined,
  services: readonly KubeObject[],
): void {
  const spec = objectAt(draft, "spec");
  if (spec === undefined) return;
  const others = services.filter(
    ({ metadata }) =>
      metadata.name !== draft.metadata["name"] ||
      metadata.namespace !== draft.metadata["namespace"],
  );
  if (spec["type"] === "ExternalName") {
    for (const field of ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"])
      delete spec[field];
  } else {
    spec["clusterIP"] = clusterIp(draft, old, others);
    spec["clusterIPs"] = [spec["clusterIP"]];
  }
  allocateNodePorts(draft, old, others);
}

function clusterIp(
  draft: Draft,
  old: KubeObject | undefined,
  others: readonly KubeObject[],
): string {
  const asked =
    stringAt(draft, "spec", "clusterIP") ?? String(arrayAt(draft, "spec", "clusterIPs")[0] ?? "");
  const had = stringAt(old, "spec", "clusterIP") ?? "";
  // A PUT without the address means "as it was".
  if (asked === "" && had !== "") return had;
  if (asked === "None" || (asked !== "" && asked === had)) return asked;
  const taken = new Set(others.map((service) => stringAt(service, "spec", "clusterIP")));
  if (asked !== "") {
    if (!taken.has(asked)) return asked;
    const detail = `failed to allocate IP ${asked}: provided IP is already allocated`;
    const error = invalidValue("spec.clusterIPs", [asked], detail);
    throw invalid(SERVICE, String(draft.metadata["name"]), [error]);
  }
  // Starting behind the newest keeps a deleted service's address unused for a while.
  for (let offset = 0; offset < IP_COUNT; offset++) {
    const candidate = formatIp(FIRST_IP + ((others.length + offset) % IP_COUNT));
    if (!taken.has(candidate)) return candidate;
  }
  const error = invalidValue("spec.clusterIPs", [], "no cluster IP is left");
  throw invalid(SERVICE, String(draft.metadata["name"]), [error]);
}

function formatIp(address: number): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join(".");
}

function allocateNodePorts(
  draft: Draft,
  old: KubeObject | undefined,
  others: readonly KubeObject[],
): void {
  const type = stringAt(draft, "spec", "type");
  const ports = arrayAt(draft, "spec", "ports").filter(isObject);
  if (type !== "NodePort" && type !== "LoadBalancer") {
    for (const port of ports) if (stringAt(old, "spec", "type") !== type) delete port["nodePort"];
    return;
  }
  const taken = new Set(
    others.flatMap((service) => objectsAt(service, "spec", "ports").map((p) => p["nodePort"])),
  );
  for (const port of ports) {
    if ((numberAt(port, "nodePort") ?? 0) !== 0) {
      taken.add(port["nodePort"]);
      continue;
    }
    const before = objectsAt(old, "spec", "ports").find((p) => p["port"] === port["port"]);
    let candidate = numberAt(before, "nodePort") ?? FIRST_NODE_PORT;
    while (taken.has(candidate) && candidate < FIRST_NODE_PORT + NODE_PORT_COUNT) candidate += 1;
    port["nodePort"] = candidate;
    taken.add(candidate);
  }
}
