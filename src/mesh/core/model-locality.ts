import type { KubeObject, StringMap } from "../../api/index.ts";
import { textOf } from "./model-object.ts";

/** Where a workload runs; "" = not known, and then so is what is below it. */
export interface Locality {
  readonly region: string;
  readonly zone: string;
  readonly subZone: string;
}

/** Nothing is known of the place. */
export const NOWHERE: Locality = { region: "", zone: "", subZone: "" };

/** Reads `region/zone/subzone`; parts may be missing. */
export function parseLocality(text: string, separator: "/" | "." = "/"): Locality {
  const [region = "", zone = "", subZone = ""] = text.split(separator);
  return { region, zone, subZone };
}

/** `region/zone/subzone`, as Istio writes it. */
export function localityText({ region, zone, subZone }: Locality): string {
  return [region, zone, subZone].join("/").replace(/\/+$/, "");
}

/** The localities of nodes by name, from Kubernetes' well-known labels and Istio's own for sub-zones. */
export function nodeLocalities(nodes: readonly KubeObject[]): ReadonlyMap<string, Locality> {
  return new Map(
    nodes.map(({ metadata: { name, labels = {} } }) => [
      name,
      {
        region: labels["topology.kubernetes.io/region"] ?? "",
        zone: labels["topology.kubernetes.io/zone"] ?? "",
        subZone: labels["topology.istio.io/subzone"] ?? "",
      },
    ]),
  );
}

/** The locality that a pod's label `istio-locality` says (dots for slashes), else its node's. */
export function podLocality(
  labels: StringMap,
  nodeName: unknown,
  nodes: ReadonlyMap<string, Locality>,
): Locality {
  const own = labels["istio-locality"];
  if (own !== undefined && own !== "") return parseLocality(own, own.includes("/") ? "/" : ".");
  return nodes.get(textOf(nodeName) ?? "") ?? NOWHERE;
}
