import type { JsonObject } from "../json.ts";
import { draftsOf, ensureObject, setDefault } from "./set-default.ts";

/** v1 Service; its cluster IP is allocated by the shell. */
export function defaultService(service: JsonObject): void {
  const spec = ensureObject(service, "spec");
  setDefault(spec, "sessionAffinity", "None");
  if (spec["sessionAffinity"] === "ClientIP") {
    setDefault(spec, "sessionAffinityConfig", { clientIP: { timeoutSeconds: 10_800 } });
  }
  setDefault(spec, "type", "ClusterIP");
  const type = spec["type"];
  for (const port of draftsOf(spec, "ports")) {
    setDefault(port, "protocol", "TCP");
    if (port["targetPort"] === undefined || port["targetPort"] === 0 || port["targetPort"] === "") {
      port["targetPort"] = port["port"];
    }
  }
  if (type === "ExternalName") return;
  setDefault(spec, "internalTrafficPolicy", "Cluster");
  setDefault(spec, "ipFamilies", ["IPv4"]);
  setDefault(spec, "ipFamilyPolicy", "SingleStack");
  if (type === "NodePort" || type === "LoadBalancer") {
    setDefault(spec, "externalTrafficPolicy", "Cluster");
  }
  if (type === "LoadBalancer") setDefault(spec, "allocateLoadBalancerNodePorts", true);
}

/** v1 Endpoints. */
export function defaultEndpoints(endpoints: JsonObject): void {
  for (const subset of draftsOf(endpoints, "subsets")) {
    for (const port of draftsOf(subset, "ports")) setDefault(port, "protocol", "TCP");
  }
}

/** discovery.k8s.io/v1 EndpointSlice. */
export function defaultEndpointSlice(slice: JsonObject): void {
  for (const port of draftsOf(slice, "ports")) {
    setDefault(port, "name", "");
    setDefault(port, "protocol", "TCP");
  }
}
