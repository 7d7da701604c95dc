import { ageSince } from "../age.ts";
import { arrayAt, type JsonObject, numberAt, objectAt, objectsAt, stringAt } from "../json.ts";
import { column, NAME_COLUMN, type TableColumns, wideColumn } from "./table-columns.ts";

const MAX_SHOWN = 3;
const nameOf = (object: JsonObject): unknown => stringAt(object, "metadata", "name");
const ageOf = (object: JsonObject, nowMs: number): string =>
  ageSince(stringAt(object, "metadata", "creationTimestamp"), nowMs);

/** v1 Service. */
export const serviceColumns: TableColumns = {
  definitions: [
    NAME_COLUMN,
    column("Type"),
    column("Cluster-IP"),
    column("External-IP"),
    column("Port(s)"),
    column("Age"),
    wideColumn("Selector"),
  ],
  cells: (service, nowMs) => [
    nameOf(service),
    stringAt(service, "spec", "type"),
    stringAt(service, "spec", "clusterIP") ?? "<none>",
    externalIp(service),
    objectsAt(service, "spec", "ports").map(portText).join(",") || "<none>",
    ageOf(service, nowMs),
    Object.entries(objectAt(service, "spec", "selector") ?? {})
      .map(([key, value]) => `${key}=${String(value)}`)
      .sort()
      .join(",") || "<none>",
  ],
};

function portText(port: JsonObject): string {
  const nodePort = numberAt(port, "nodePort") ?? 0;
  const node = nodePort === 0 ? "" : `:${nodePort}`;
  return `${numberAt(port, "port")}${node}/${stringAt(port, "protocol")}`;
}

function externalIp(service: JsonObject): string {
  const type = stringAt(service, "spec", "type");
  if (type === "ExternalName") return stringAt(service, "spec", "externalName") ?? "<none>";
  const external = arrayAt(service, "spec", "externalIPs").map(String);
  if (type !== "LoadBalancer") return external.join(",") || "<none>";
  const ingress = objectsAt(service, "status", "loadBalancer", "ingress").map(
    (entry) => stringAt(entry, "ip") ?? stringAt(entry, "hostname") ?? "",
  );
  return [...ingress, ...external].join(",") || "<pending>";
}

/** v1 Endpoints. */
export const endpointsColumns: TableColumns = {
  definitions: [NAME_COLUMN, column("Endpoints"), column("Age")],
  cells: (endpoints, nowMs) => {
    const shown = objectsAt(endpoints, "subsets").flatMap((subset) => {
      const ports = objectsAt(subset, "ports");
      const addresses = objectsAt(subset, "addresses").map((a) => String(a["ip"]));
      if (ports.length === 0) return addresses;
      return ports.flatMap((port) => addresses.map((ip) => `${ip}:${String(port["port"])}`));
    });
    return [nameOf(endpoints), shorten(shown), ageOf(endpoints, nowMs)];
  },
};

/** discovery.k8s.io/v1 EndpointSlice. */
export const endpointSliceColumns: TableColumns = {
  definitions: [
    NAME_COLUMN,
    column("AddressType"),
    column("Ports"),
    column("Endpoints"),
    column("Age"),
  ],
  cells: (slice, nowMs) => [
    nameOf(slice),
    stringAt(slice, "addressType"),
    shorten(
      objectsAt(slice, "ports").map((port) => String(port["port"] ?? "*")),
      "<unset>",
    ),
    shorten(
      objectsAt(slice, "endpoints").flatMap((endpoint) =>
        arrayAt(endpoint, "addresses").map(String),
      ),
      "<unset>",
    ),
    ageOf(slice, nowMs),
  ],
};

function shorten(list: readonly string[], empty = "<none>"): string {
  if (list.length === 0) return empty;
  if (list.length <= MAX_SHOWN) return list.join(",");
  return `${list.slice(0, MAX_SHOWN).join(",")} + ${list.length - MAX_SHOWN} more...`;
}
