import type { KubeObject } from "../../../../api/index.ts";
import { byAge, labelsOf, listOf, objectOf, portOf, textOf } from "../../model-object.ts";
import { protocolOf } from "../../model-protocol.ts";
import {
  type AnalysisContext,
  type Analyzer,
  type Finding,
  type PodSource,
  selectsLabels,
} from "../context.ts";

interface Port {
  readonly service: KubeObject;
  readonly index: number;
  readonly name: string;
  readonly number: number;
  readonly targetPort: string;
  readonly protocol: string;
}

/** Ports of services: what they speak, and what leads to the same place. */
export const servicesAnalyzer: Analyzer = {
  name: "services",
  description: "names of ports, and services that share workloads",
  codes: ["IST0116", "IST0118", "IST0137", "IST0150"],
  *analyze(context) {
    for (const service of context.objects.services) yield* portNames(service);
    for (const workload of workloadsOf(context)) yield* sharedPorts(workload, context);
  },
};

function* portNames(service: KubeObject): Generator<Finding> {
  const isExternal = objectOf(service["spec"])["type"] === "ExternalName";
  for (const { index, name, number, targetPort, protocol } of portsOf(service)) {
    if (protocol !== "auto") continue;
    const path = ["spec", "ports", index];
    if (isExternal) {
      const message = `Port ${number} of the ExternalName service says no protocol: name it so (tcp-…, http-…), or other traffic to that port may not get through.`;
      yield { code: "IST0150", object: service, message, path };
    } else {
      const message = `Port name ${JSON.stringify(name)} (port: ${number}, targetPort: ${targetPort}) says no protocol, which is then guessed from the first bytes. Name it <protocol>[-<suffix>], or set appProtocol.`;
      yield { code: "IST0118", object: service, message, path };
    }
  }
}

function portsOf(service: KubeObject): readonly Port[] {
  return listOf(objectOf(service["spec"])["ports"]).flatMap((value, index): Port[] => {
    const port = objectOf(value);
    const number = portOf(port["port"]);
    if (number === undefined) return [];
    const name = textOf(port["name"]) ?? "";
    const transport = textOf(port["protocol"]) ?? "TCP";
    const appProtocol = textOf(port["appProtocol"]);
    const protocol =
      transport === "TCP" ? protocolOf({ number, transport, appProtocol, name }) : transport;
    const targetPort = String(port["targetPort"] ?? number);
    return [{ service, index, name, number, targetPort, protocol }];
  });
}

/** Deployments and the like; of pods only those that nobody makes. */
function workloadsOf({ makers, pods }: AnalysisContext): readonly PodSource[] {
  const bare = pods.filter(
    ({ object }) => object.kind === "Pod" && (object.metadata.ownerReferences ?? []).length === 0,
  );
  return [...makers, ...bare];
}

function* sharedPorts(workload: PodSource, { objects }: AnalysisContext): Generator<Finding> {
  const services = byAge(objects.services).filter((service) => {
    const selector = labelsOf(objectOf(service["spec"])["selector"]);
    const { namespace = "default" } = service.metadata;
    const hasSelector = Object.keys(selector).length > 0;
    return (
      hasSelector && namespace === workload.namespace && selectsLabels(selector, workload.labels)
    );
  });
  const ports = services.flatMap(portsOf);
  const { object, name } = workload;
  const what = `${object.kind} ${name}`;
  for (const [number, same] of Map.groupBy(ports, (port) => port.number)) {
    if (new Set(same.map(({ protocol }) => protocol)).size < 2) continue;
    const list = same.map((port) => `${nameOf(port)} (${port.protocol})`).join(", ");
    const message = `${what} is behind several services that use port ${number} for different protocols: ${list}.`;
    yield { code: "IST0116", object, message };
  }
  for (const [targetPort, same] of Map.groupBy(ports, (port) => port.targetPort)) {
    const numbers = new Set(same.map((port) => port.number));
    if (numbers.size < 2 || new Set(same.map(nameOf)).size < 2) continue;
    const list = [...new Set(same.map(nameOf))].join(", ");
    const message = `${what} is behind several services (${list}) that lead to target port ${targetPort} from different ports: ${[...numbers].join(", ")}.`;
    yield { code: "IST0137", object, message };
  }
}

function nameOf({ service }: Port): string {
  return `${service.metadata.namespace ?? "default"}/${service.metadata.name}`;
}
