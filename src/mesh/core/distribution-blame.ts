import { decode, ROUTE_TYPE } from "../../xds/index.ts";
import type { TrackedResource } from "./distribution.ts";
import { mentions } from "./session-rejection.ts";
import type { ResourceSet } from "./xds-resource.ts";

/**
 * The VirtualServices that a proxy's refusal is about: those of the virtual host that the error names
 * by its path, or whose host the error spells out. Empty when it cannot be told.
 */
export function blamedFor(
  message: string,
  resources: ResourceSet | undefined,
  tracked: Iterable<TrackedResource>,
): readonly TrackedResource[] {
  const domains = domainsNamed(message, resources);
  return [...tracked].filter((resource) =>
    fullHosts(resource).some((host) => domains.has(host) || mentions(message, host)),
  );
}

/** Domains of `RouteConfiguration x: virtual_hosts[i]…`, in any of the routes that the error names. */
function domainsNamed(message: string, resources: ResourceSet | undefined): ReadonlySet<string> {
  const domains = new Set<string>();
  const indices = [...message.matchAll(/virtual_hosts\[(\d+)\]/g)].map((match) => Number(match[1]));
  if (indices.length === 0) return domains;
  for (const [name, resource] of resources?.get(ROUTE_TYPE) ?? []) {
    if (!message.includes(name)) continue;
    const config = decode("envoy.config.route.v3.RouteConfiguration", resource.body);
    for (const index of indices) {
      for (const domain of config.virtual_hosts?.[index]?.domains ?? []) domains.add(domain);
    }
  }
  return domains;
}

function fullHosts({ hosts, namespace }: TrackedResource): readonly string[] {
  return hosts.map((host) =>
    host.includes(".") ? host : `${host}.${namespace}.svc.cluster.local`,
  );
}
