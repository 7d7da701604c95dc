/** A stat under its Prometheus name, with the parts of its name that are tags. */
export interface PrometheusName {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** What follows the name of a cluster; cluster names may hold dots themselves. */
const CLUSTER =
  /^cluster\.(.+)\.((?:upstream|membership|circuit_breakers|outlier_detection|update|lb|retry|assignment|warming)(?:[_.].*)?)$/;
const HTTP = /^http\.(.+)\.((?:downstream|rq|no|rs|passthrough|tracing)_.*)$/;
const LISTENER = /^listener\.(?!manager)(.+)\.((?:downstream|ssl|no|connections|http)[_.].*)$/;
const TCP = /^tcp\.(.+)\.(.*)$/;

/**
 * Envoy's tag extraction: `cluster.reviews.upstream_rq_503` becomes `envoy_cluster_upstream_rq`
 * with envoy_cluster_name and envoy_response_code. Source: Envoy's well_known_names.cc.
 */
export function prometheusName(stat: string): PrometheusName {
  for (const [pattern, scope, tag] of [
    [CLUSTER, "cluster", "envoy_cluster_name"],
    [HTTP, "http", "envoy_http_conn_manager_prefix"],
    [LISTENER, "listener", "envoy_listener_address"],
    [TCP, "tcp", "envoy_tcp_prefix"],
  ] as const) {
    const match = pattern.exec(stat);
    if (match === null) continue;
    const rest = responseTags(match[2] ?? "");
    return {
      name: sanitize(`envoy_${scope}_${rest.name}`),
      labels: { ...rest.labels, [tag]: match[1] ?? "" },
    };
  }
  return { name: sanitize(`envoy_${stat}`), labels: {} };
}

function responseTags(name: string): PrometheusName {
  const byClass = /^(.*_rq)_([1-5])xx$/.exec(name);
  if (byClass !== null) {
    return { name: `${byClass[1]}_xx`, labels: { envoy_response_code_class: byClass[2] ?? "" } };
  }
  const byCode = /^(.*_rq)_(\d{3})$/.exec(name);
  if (byCode !== null) {
    return { name: byCode[1] ?? "", labels: { envoy_response_code: byCode[2] ?? "" } };
  }
  return { name, labels: {} };
}

function sanitize(name: string): string {
  return name.replace(/[^a-zA-Z0-9_]/g, "_");
}
