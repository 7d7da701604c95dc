import type { JwtRule } from "../../../api/index.ts";
import { durationFromMs, type MessageTypes, packAny } from "../../../xds/index.ts";
import type { MeshModel } from "../model.ts";
import { resolveHost } from "../model-hosts.ts";
import type { MeshRequestAuthentication } from "../model-security.ts";
import { SERVICE_DOMAIN } from "../model-services.ts";
import { JWT_PAYLOAD } from "./authorization-match.ts";
import { outboundClusterName } from "./names.ts";
import { upstreamTransport } from "./upstream-tls.ts";

type HttpFilter =
  MessageTypes["envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter"];
type Cluster = MessageTypes["envoy.config.cluster.v3.Cluster"];
type Provider = MessageTypes["envoy.extensions.filters.http.jwt_authn.v3.JwtProvider"];
type Requirement = MessageTypes["envoy.extensions.filters.http.jwt_authn.v3.JwtRequirement"];

/** Cluster.DiscoveryType */
const STRICT_DNS = 1;
/** Cluster.DnsLookupFamily */
const V4_PREFERRED = 3;
const CACHE_MS = 300_000;
const TIMEOUT_MS = 5_000;
/** Tokens of an issuer whose keys cannot be had are refused, not believed. */
const NO_KEYS = '{"keys":[]}';

/** The JWT filter of a workload; undefined without rules. A missing token is nobody, not an error. */
export function requestAuthentication(
  policies: readonly MeshRequestAuthentication[],
  model: Pick<MeshModel, "serviceByHost">,
): HttpFilter | undefined {
  const rules = policies.flatMap(({ namespace, jwtRules }) =>
    jwtRules.map((rule) => provider(rule, namespace, model)),
  );
  if (rules.length === 0) return undefined;
  const names = rules.map((_, i) => `origins-${i}`);
  return {
    name: "envoy.filters.http.jwt_authn",
    typed_config: packAny("envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication", {
      providers: Object.fromEntries(rules.map((rule, i) => [names[i] ?? "", rule])),
      rules: [{ match: { prefix: "/" }, requires: requirement(names) }],
      bypass_cors_preflight: true,
    }),
  };
}

/** One provider, or none; of several any, or of each its token or none. */
function requirement(names: readonly string[]): Requirement {
  const optional = (name: string): Requirement => ({
    requires_any: { requirements: [{ provider_name: name }, { allow_missing: {} }] },
  });
  const [only] = names;
  if (names.length === 1 && only !== undefined) return optional(only);
  return {
    requires_any: {
      requirements: [
        ...names.map((name) => ({ provider_name: name })),
        { requires_all: { requirements: names.map(optional) } },
      ],
    },
  };
}

function provider(
  rule: JwtRule,
  namespace: string,
  model: Pick<MeshModel, "serviceByHost">,
): Provider {
  return {
    issuer: rule.issuer,
    ...(rule.audiences === undefined ? {} : { audiences: [...rule.audiences] }),
    ...keys(rule, namespace, model),
    forward: rule.forwardOriginalToken ?? false,
    payload_in_metadata: JWT_PAYLOAD,
    normalize_payload_in_metadata: {
      space_delimited_claims: ["scope", "permission", ...(rule.spaceDelimitedClaims ?? [])],
    },
    from_headers: (rule.fromHeaders ?? []).map(({ name, prefix }) => ({
      name,
      value_prefix: prefix ?? "",
    })),
    from_params: [...(rule.fromParams ?? [])],
    from_cookies: [...(rule.fromCookies ?? [])],
    forward_payload_header: rule.outputPayloadToHeader ?? "",
    claim_to_headers: (rule.outputClaimToHeaders ?? []).map(({ header, claim }) => ({
      header_name: header,
      claim_name: claim,
    })),
  };
}

function keys(
  { jwks, jwksUri }: JwtRule,
  namespace: string,
  model: Pick<MeshModel, "serviceByHost">,
): Partial<Provider> {
  if (jwks !== undefined && jwks !== "") return { local_jwks: { inline_string: jwks } };
  const cluster = jwksCluster(jwksUri, namespace, model);
  if (cluster === undefined) return { local_jwks: { inline_string: NO_KEYS } };
  return {
    remote_jwks: {
      http_uri: { uri: jwksUri ?? "", cluster, timeout: durationFromMs(TIMEOUT_MS) },
      cache_duration: durationFromMs(CACHE_MS),
      async_fetch: {},
    },
  };
}

/**
 * The cluster that leads to a key set's host: its service's where it is one of the mesh, else one of
 * its own. Undefined when the address is none.
 */
export function jwksCluster(
  jwksUri: string | undefined,
  namespace: string,
  { serviceByHost }: Pick<MeshModel, "serviceByHost">,
): string | undefined {
  if (jwksUri === undefined || !URL.canParse(jwksUri)) return undefined;
  const { hostname, port, protocol } = new URL(jwksUri);
  const host = resolveHost(hostname, namespace, (name) => serviceByHost.has(name));
  const number = port === "" ? (protocol === "https:" ? 443 : 80) : Number(port);
  const service = serviceByHost.get(host);
  if (service?.ports.some((each) => each.number === number) === true) {
    return outboundClusterName(host, number);
  }
  // A service of the mesh that has no such port is a mistake rather than somebody else's.
  return service === undefined && isAddress(host) ? keySetClusterName(host, number) : undefined;
}

/** A name or an IP address that DNS or the network can lead to; names of services are none. */
function isAddress(host: string): boolean {
  return !host.endsWith(`.${SERVICE_DOMAIN}`) && !host.startsWith("*");
}

function keySetClusterName(host: string, port: number): string {
  return `jwks|${port}||${host}`;
}

/** The clusters of key sets outside of the mesh that a workload's policies name, each once. */
export function keySetClusters(
  policies: readonly MeshRequestAuthentication[],
  model: Pick<MeshModel, "serviceByHost">,
): readonly Cluster[] {
  const found = new Map<string, Cluster>();
  for (const { namespace, jwtRules } of policies) {
    for (const { jwks, jwksUri } of jwtRules) {
      const name = (jwks ?? "") === "" ? jwksCluster(jwksUri, namespace, model) : undefined;
      if (jwksUri === undefined || name?.startsWith("jwks|") !== true) continue;
      found.set(name, keySetCluster(name, new URL(jwksUri)));
    }
  }
  return [...found.values()];
}

function keySetCluster(name: string, { hostname, port, protocol }: URL): Cluster {
  const isTls = protocol === "https:";
  const address = hostname.replace(/^\[|\]$/g, "");
  const number = port === "" ? (isTls ? 443 : 80) : Number(port);
  return {
    name,
    type: STRICT_DNS,
    dns_lookup_family: V4_PREFERRED,
    connect_timeout: durationFromMs(TIMEOUT_MS),
    load_assignment: {
      cluster_name: name,
      endpoints: [
        {
          lb_endpoints: [
            { endpoint: { address: { socket_address: { address, port_value: number } } } },
          ],
        },
      ],
    },
    ...(isTls
      ? upstreamTransport(
          { mode: "SIMPLE" },
          { host: address, sni: "", names: [], identities: [], protocol: "http" },
        )
      : {}),
  };
}
