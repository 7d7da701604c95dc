import type { StringMap } from "../../../../api/index.ts";
import { gatewayFrom, type MeshGateway } from "../../model-gateways.ts";
import { coversHost } from "../../model-hosts.ts";
import { byAge, labelsOf, listOf, objectOf } from "../../model-object.ts";
import {
  type AnalysisContext,
  type Analyzer,
  type Finding,
  formatLabels,
  selectsLabels,
} from "../context.ts";

interface Entry {
  readonly object: Finding["object"];
  readonly gateway: MeshGateway;
  readonly credentials: readonly string[];
}

/** Gateways that are in each other's way, or that nobody reaches. */
export const gatewaysAnalyzer: Analyzer = {
  name: "gateways",
  description:
    "gateways of the same pods with the same hosts or certificates, ports without a Service",
  codes: ["IST0138", "IST0145", "IST0162"],
  *analyze(context) {
    const entries = context.gateways.map(({ object, spec }): Entry => {
      const credentials = (spec.servers ?? []).flatMap(({ tls }) => tls?.credentialName || []);
      return { object, gateway: gatewayFrom(object, spec), credentials };
    });
    for (const [i, entry] of entries.entries()) {
      const others = entries.filter(
        (other, j) => i !== j && isSameSelector(other.gateway.selector, entry.gateway.selector),
      );
      yield* conflicts(entry, others);
      yield* sharedCertificates(entry, others);
      yield* unreached(entry, context);
    }
  },
};

function isSameSelector(a: StringMap = {}, b: StringMap = {}): boolean {
  return selectsLabels(a, b) && selectsLabels(b, a);
}

function* conflicts({ object, gateway }: Entry, others: readonly Entry[]): Generator<Finding> {
  for (const [i, server] of gateway.servers.entries()) {
    for (const { gateway: other } of others) {
      const hosts = other.servers
        .filter(({ port }) => port === server.port)
        .flatMap((theirs) => theirs.hosts)
        .filter((theirs) => server.hosts.some((own) => overlap(own, theirs)))
        .map(({ dnsName }) => dnsName);
      if (hosts.length === 0) continue;
      const message = `Gateway ${other.namespace}/${other.name} of the same pods (${formatLabels(gateway.selector ?? {})}) has the same hosts on port ${server.port}: ${hosts.join(", ")}.`;
      yield { code: "IST0145", object, message, path: ["spec", "servers", i] };
    }
  }
}

type Host = MeshGateway["servers"][number]["hosts"][number];

/** The same name for the same namespaces; `*` beside an exact name is no conflict, the exact one wins. */
function overlap(a: Host, b: Host): boolean {
  const isSameScope = a.namespace === b.namespace || [a.namespace, b.namespace].includes("*");
  return isSameScope && coversHost(a.dnsName, b.dnsName) && coversHost(b.dnsName, a.dnsName);
}

function* sharedCertificates(
  { object, gateway, credentials }: Entry,
  others: readonly Entry[],
): Generator<Finding> {
  for (const credential of new Set(credentials)) {
    const sharing = others.filter((other) => other.credentials.includes(credential));
    if (sharing.length === 0) continue;
    const names = [gateway, ...sharing.map((other) => other.gateway)]
      .map(({ namespace, name }) => `${namespace}/${name}`)
      .sort();
    const message = `The Gateways ${names.join(", ")} share the certificate ${credential}: clients that reuse an HTTP/2 connection for a host of another gateway get 404. Put their hosts into one Gateway.`;
    yield { code: "IST0138", object, message };
  }
}

/** Ports that the Services of the gateway's pods do not lead to. */
function* unreached({ object, gateway }: Entry, context: AnalysisContext): Generator<Finding> {
  const { selector } = gateway;
  if (selector === undefined) return;
  const pods = context.pods.filter(({ labels }) => selectsLabels(selector, labels));
  const services = byAge(context.objects.services).filter(({ metadata, ...service }) => {
    const wanted = labelsOf(objectOf(service["spec"])["selector"]);
    const { namespace = "default" } = metadata;
    return (
      Object.keys(wanted).length > 0 &&
      pods.some((pod) => pod.namespace === namespace && selectsLabels(wanted, pod.labels))
    );
  });
  if (services.length === 0) return;
  const ports = services
    .flatMap((service) => listOf(objectOf(service["spec"])["ports"]))
    .map(objectOf)
    .flatMap((port) => [port["targetPort"] ?? port["port"], port["port"]]);
  for (const [i, { port }] of gateway.servers.entries()) {
    if (ports.includes(port)) continue;
    const names = services.map(({ metadata }) => `${metadata.namespace}/${metadata.name}`);
    const message = `No Service of the gateway's pods (${formatLabels(selector)}) leads to port ${port}: ${names.join(", ")} would have to.`;
    yield { code: "IST0162", object, message, path: ["spec", "servers", i, "port"] };
  }
}
