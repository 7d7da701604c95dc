import { X509Certificate } from "node:crypto";
import { field, listField, textField } from "./config-dump.ts";

/** One line of a table and the value that `-o json|yaml` shows for it. */
export interface ConfigRow {
  readonly cells: readonly string[];
  readonly value: unknown;
}

/** Filters of `serin proxy-config`; an absent one lets all through. */
export interface ConfigFilter {
  readonly name?: string | undefined;
  readonly fqdn?: string | undefined;
  readonly port?: string | undefined;
  readonly direction?: string | undefined;
  readonly subset?: string | undefined;
  readonly address?: string | undefined;
  readonly cluster?: string | undefined;
  readonly status?: string | undefined;
}

/** istioctl's headers, by kind. */
export const CONFIG_HEADERS = {
  clusters: ["SERVICE FQDN", "PORT", "SUBSET", "DIRECTION", "TYPE", "DESTINATION RULE"],
  listeners: ["ADDRESSES", "PORT", "MATCH", "DESTINATION"],
  routes: ["NAME", "VHOST NAME", "DOMAINS", "MATCH", "VIRTUAL SERVICE"],
  endpoints: ["ENDPOINT", "STATUS", "OUTLIER CHECK", "CLUSTER"],
  secrets: [
    ...["RESOURCE NAME", "TYPE", "STATUS", "VALID CERT"],
    ...["SERIAL NUMBER", "NOT AFTER", "NOT BEFORE"],
  ],
} as const;

/** Clusters sorted by host and port; names that are not Istio's stand under SERVICE FQDN. */
export function clusterRows(clusters: readonly unknown[], filter: ConfigFilter): ConfigRow[] {
  return clusters
    .map((value) => ({ value, ...clusterName(textField(value, "name")) }))
    .filter(
      (each) =>
        passes(filter.fqdn, each.fqdn) &&
        passes(filter.port, each.port) &&
        passes(filter.subset, each.subset) &&
        passes(filter.direction, each.direction),
    )
    .sort(
      (a, b) =>
        compare(a.fqdn, b.fqdn) || Number(a.port) - Number(b.port) || compare(a.subset, b.subset),
    )
    .map(({ value, fqdn, port, subset, direction }) => ({
      value,
      cells: [
        fqdn,
        orDash(port),
        orDash(subset),
        orDash(direction),
        textField(value, "type") || "STATIC",
        configOf(value),
      ],
    }));
}

/** Listeners: one line per filter chain. */
export function listenerRows(listeners: readonly unknown[], filter: ConfigFilter): ConfigRow[] {
  return listeners.flatMap((value) => {
    const address = textField(value, "address", "socket_address", "address");
    const port = textField(value, "address", "socket_address", "port_value");
    if (!passes(filter.address, address) || !passes(filter.port, port)) return [];
    const fallback = field(value, "default_filter_chain");
    const chains = [
      ...listField(value, "filter_chains"),
      ...(fallback === undefined ? [] : [fallback]),
    ];
    return chains.map((chain) => ({
      value,
      cells: [address, port, chainMatch(chain), destination(chain)],
    }));
  });
}

/** Routes: one line per route of each virtual host. */
export function routeRows(routes: readonly unknown[], filter: ConfigFilter): ConfigRow[] {
  return routes.flatMap((value) => {
    const name = textField(value, "name");
    if (!passes(filter.name, name)) return [];
    return listField(value, "virtual_hosts").flatMap((host) =>
      listField(host, "routes").map((route) => ({
        value,
        cells: [name, textField(host, "name"), domains(host), routeMatch(route), configOf(route)],
      })),
    );
  });
}

/** Hosts of `/clusters?format=json`. */
export function endpointRows(clusters: unknown, filter: ConfigFilter): ConfigRow[] {
  return listField(clusters, "cluster_statuses").flatMap((value) => {
    const cluster = textField(value, "name");
    if (!passes(filter.cluster, cluster)) return [];
    return listField(value, "host_statuses").flatMap((host) => {
      const address = textField(host, "address", "socket_address", "address");
      const port = textField(host, "address", "socket_address", "port_value");
      const told = textField(host, "health_status", "eds_health_status");
      // A host that nobody called unhealthy takes traffic; Envoy's page calls it HEALTHY.
      const status = told === "" || told === "UNKNOWN" ? "HEALTHY" : told;
      const isPassing = passes(filter.address, address) && passes(filter.port, port);
      if (!isPassing || !passes(filter.status?.toUpperCase(), status)) return [];
      const isEjected = field(host, "health_status", "failed_outlier_check") === true;
      return [
        {
          value: { cluster, ...(host as object) },
          cells: [`${address}:${port}`, status, isEjected ? "FAILED" : "OK", cluster],
        },
      ];
    });
  });
}

/** Secrets: their certificate, and whether it is valid at `nowMs`. */
export function secretRows(secrets: readonly unknown[], nowMs: number): ConfigRow[] {
  return secrets.map((value) => {
    const certificate = field(value, "secret", "tls_certificate", "certificate_chain");
    const ca = field(value, "secret", "validation_context", "trusted_ca");
    const type = certificate === undefined ? "CA" : "Cert Chain";
    const cells = certificateCells(certificate ?? ca, nowMs);
    return { value, cells: [textField(value, "name"), type, "ACTIVE", ...cells] };
  });
}

function certificateCells(source: unknown, nowMs: number): readonly string[] {
  const bytes = textField(source, "inline_bytes");
  const pem = bytes === "" ? textField(source, "inline_string") : Buffer.from(bytes, "base64");
  try {
    const { serialNumber, validFromDate, validToDate } = new X509Certificate(pem);
    const isValid = nowMs >= validFromDate.getTime() && nowMs <= validToDate.getTime();
    return [
      String(isValid),
      serialNumber.toLowerCase(),
      seconds(validToDate),
      seconds(validFromDate),
    ];
  } catch {
    // A secret of another kind, or one in a file: there is no certificate to show.
    return ["false", "-", "-", "-"];
  }
}

function seconds(time: Date): string {
  return time.toISOString().replace(/\.\d{3}Z$/, "Z");
}

function clusterName(name: string) {
  const [direction = "", port = "", subset = "", fqdn = ""] = name.split("|");
  if (name.split("|").length !== 4) return { fqdn: name, port: "", subset: "", direction: "" };
  return { fqdn, port, subset, direction };
}

/** `reviews.default` from `…/namespaces/default/virtual-service/reviews`, Istio's metadata. */
function configOf(value: unknown): string {
  const config = textField(value, "metadata", "filter_metadata", "istio", "config");
  const match = /\/namespaces\/([^/]+)\/[^/]+\/([^/]+)$/.exec(config);
  return match === null ? "" : `${match[2]}.${match[1]}`;
}

function chainMatch(chain: unknown): string {
  const match = field(chain, "filter_chain_match");
  const prefixes = listField(match, "prefix_ranges").map(
    (range) => `${textField(range, "address_prefix")}/${textField(range, "prefix_len")}`,
  );
  const parts = [
    ["SNI", listField(match, "server_names").join(",")],
    ["Trans", textField(match, "transport_protocol")],
    ["App", listField(match, "application_protocols").join(",")],
    [
      "Addr",
      [...prefixes, textField(match, "destination_port")].filter((part) => part !== "").join(":"),
    ],
  ] as const;
  const named = parts.filter(([, text]) => text !== "").map(([label, text]) => `${label}: ${text}`);
  return named.length === 0 ? "ALL" : named.join("; ");
}

function destination(chain: unknown): string {
  for (const filter of listField(chain, "filters")) {
    const config = field(filter, "typed_config");
    const route = textField(config, "rds", "route_config_name");
    if (route !== "") return `Route: ${route}`;
    const cluster = textField(config, "cluster");
    if (cluster !== "") return cluster.includes("|") ? `Cluster: ${cluster}` : cluster;
    const hosts = listField(config, "route_config", "virtual_hosts");
    if (hosts.length > 0) {
      const matches = hosts.flatMap((host) => listField(host, "routes").map(routeMatch));
      return `Inline Route: ${matches.join(", ")}`;
    }
  }
  return "Non-HTTP/Non-TCP";
}

function domains(host: unknown): string {
  const [first = "", ...rest] = listField(host, "domains").map(String);
  return rest.length === 0 ? first : `${first} + ${rest.length} more...`;
}

function routeMatch(route: unknown): string {
  const match = field(route, "match");
  const regex = textField(match, "safe_regex", "regex");
  const separated = textField(match, "path_separated_prefix");
  const path =
    textField(match, "path") ||
    (regex === "" ? "" : `regex ${regex}`) ||
    `${separated || textField(match, "prefix")}*`;
  const headers = listField(match, "headers").map((header) => textField(header, "name"));
  return headers.length === 0 ? path : `${path} (headers: ${headers.join(", ")})`;
}

function passes(wanted: string | undefined, found: string): boolean {
  return wanted === undefined || wanted === found;
}

function orDash(text: string): string {
  return text === "" ? "-" : text;
}

function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
