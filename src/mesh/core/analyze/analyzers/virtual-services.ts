import type { VirtualServiceSpec } from "../../../../api/index.ts";
import { hostsOnServer } from "../../model-gateways.ts";
import { resolveHost } from "../../model-hosts.ts";
import { MESH_GATEWAY, virtualServiceFrom } from "../../model-virtual-services.ts";
import type { AnalysisContext, Analyzer, Finding, Resource } from "../context.ts";

type Definition = Resource<VirtualServiceSpec>;

/** Routes that never count. */
export const virtualServicesAnalyzer: Analyzer = {
  name: "virtual services",
  description: "hosts that others have, ports that are missing, routes that are never reached",
  codes: ["IST0109", "IST0112", "IST0130", "IST0131", "IST0132"],
  *analyze(context) {
    yield* sharedHosts(context);
    for (const definition of context.virtualServices) {
      yield* unnamedPorts(definition, context);
      yield* unreachable(definition);
      yield* unknownToGateways(definition, context);
    }
  },
};

/** Hosts that several VirtualServices of the same reach have on sidecars. */
function* sharedHosts(context: AnalysisContext): Generator<Finding> {
  const isService = (host: string): boolean => context.model.serviceByHost.has(host);
  const owners = new Map<string, { host: string; definitions: Definition[] }>();
  for (const definition of context.virtualServices) {
    const { gateways, hosts, exportTo } = virtualServiceFrom(
      definition.object,
      definition.spec,
      isService,
    );
    if (!gateways.includes(MESH_GATEWAY)) continue;
    for (const host of new Set(hosts)) {
      const key = `${host} ${exportTo.map((to) => (to === "." ? definition.namespace : to)).join()}`;
      const known = owners.get(key) ?? { host, definitions: [] };
      known.definitions.push(definition);
      owners.set(key, known);
    }
  }
  for (const { host, definitions } of owners.values()) {
    if (definitions.length < 2) continue;
    const names = definitions.map(({ namespace, name }) => `${namespace}/${name}`);
    const message = `The VirtualServices ${names.join(", ")} have the same host ${host} on sidecars; only the oldest, ${names[0]}, counts. Merge them.`;
    for (const { object } of definitions) {
      yield { code: "IST0109", object, message, path: ["spec", "hosts"] };
    }
  }
}

function* unnamedPorts({ object, namespace, spec }: Definition, context: AnalysisContext) {
  const { serviceByHost } = context.model;
  for (const kind of ["http", "tls", "tcp"] as const) {
    for (const [i, { route = [] }] of (spec[kind] ?? []).entries()) {
      for (const [j, { destination }] of route.entries()) {
        const host = resolveHost(destination.host, namespace, (name) => serviceByHost.has(name));
        const ports = serviceByHost.get(host)?.ports ?? [];
        if (destination.port !== undefined || ports.length < 2) continue;
        const numbers = ports.map(({ number }) => number).join(", ");
        yield {
          code: "IST0112",
          object,
          message: `The route leads to ${JSON.stringify(destination.host)}, which has the ports ${numbers}, and names none of them: set destination.port.number.`,
          path: ["spec", kind, i, "route", j, "destination"],
        } satisfies Finding;
      }
    }
  }
}

/** Rules after one that takes everything, and matches that stand in an earlier rule. */
function* unreachable({ object, spec }: Definition): Generator<Finding> {
  for (const kind of ["http", "tls", "tcp"] as const) {
    const seen = new Map<string, number>();
    let all: number | undefined;
    for (const [i, rule] of (spec[kind] ?? []).entries()) {
      const name = "name" in rule && rule.name ? `${JSON.stringify(rule.name)}` : `${kind}[${i}]`;
      const matches = (rule.match ?? []).map(matchKey);
      const path = ["spec", kind, i];
      const duplicates = matches.map((key) => seen.get(key));
      if (all !== undefined) {
        const message = `Rule ${name} is never used: ${kind}[${all}] before it takes everything.`;
        yield { code: "IST0130", object, message, path };
      } else if (matches.length > 0 && duplicates.every((each) => each !== undefined)) {
        const message = `Rule ${name} is never used: ${kind}[${duplicates[0]}] before it has the same match${matches.length > 1 ? "es" : ""}.`;
        yield { code: "IST0130", object, message, path };
      } else {
        for (const [j, earlier] of duplicates.entries()) {
          if (earlier === undefined) continue;
          const message = `Match ${j} of rule ${name} is never used: ${kind}[${earlier}] has the same.`;
          yield { code: "IST0131", object, message, path: [...path, "match", j] };
        }
      }
      for (const key of matches) if (!seen.has(key)) seen.set(key, i);
      if (matches.length === 0 || matches.includes(EVERYTHING)) all ??= i;
    }
  }
}

const EVERYTHING = "{}";

/** Matches of the same key take the same requests; the empty one takes all. */
function matchKey(match: object): string {
  const { name: _, statPrefix: __, uri, ...asked } = match as Match;
  const isAny = uri?.prefix === "/" || uri?.prefix === "" || uri?.regex === ".*";
  return sorted(isAny || uri === undefined ? asked : { ...asked, uri });
}

interface Match {
  readonly name?: string;
  readonly statPrefix?: string;
  readonly uri?: { readonly prefix?: string; readonly regex?: string };
}

/** JSON whose keys are in order. */
function sorted(value: unknown): string {
  return JSON.stringify(value, (_, each: unknown) =>
    typeof each === "object" && each !== null && !Array.isArray(each)
      ? Object.fromEntries(Object.entries(each).sort(([a], [b]) => (a < b ? -1 : 1)))
      : each,
  );
}

/** Hosts that no server of a gateway takes. */
function* unknownToGateways(
  { object, namespace, name, spec }: Definition,
  { model }: AnalysisContext,
): Generator<Finding> {
  for (const [i, ref] of (spec.gateways ?? []).entries()) {
    const full = ref.includes("/") ? ref : `${namespace}/${ref}`;
    const gateway = model.gateways.find((each) => `${each.namespace}/${each.name}` === full);
    if (ref === MESH_GATEWAY || gateway === undefined) continue;
    const lost = spec.hosts.filter((host) =>
      gateway.servers.every(
        (server) => hostsOnServer({ namespace, hosts: [host.toLowerCase()] }, server).length === 0,
      ),
    );
    if (lost.length === 0) continue;
    const message = `No server of Gateway ${full} takes the host${lost.length > 1 ? "s" : ""} ${lost.join(", ")} of VirtualService ${name}.`;
    yield { code: "IST0132", object, message, path: ["spec", "gateways", i] };
  }
}
