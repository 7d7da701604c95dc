import type {
  envoy_config_listener_v3_Listener,
  envoy_config_listener_v3_ListenerFilterChainMatchPredicate,
} from "../../../xds/index.ts";
import type { ListenerConfig } from "../runtime-config.ts";
import type { Scope } from "./scope.ts";

/** Listener filters by the end of their type; both look at the first bytes. */
const TLS_INSPECTOR = ".TlsInspector";
const HTTP_INSPECTOR = ".HttpInspector";
const ORIGINAL_DST = ".OriginalDst";

type Predicate = envoy_config_listener_v3_ListenerFilterChainMatchPredicate;
type PortTest = (port: number) => boolean;
type Filters = Pick<ListenerConfig, "inspectTls" | "originalDst" | "isUninspected">;

/** What must be found out about a connection before its chain is chosen. */
export function compileListenerFilters(
  listener: envoy_config_listener_v3_Listener,
  scope: Scope,
): Filters {
  const inspectors: (PortTest | undefined)[] = [];
  let inspectTls = false;
  // As Envoy: use_original_dst brings the filter with it.
  let originalDst: ListenerConfig["originalDst"] = listener.use_original_dst?.value
    ? "handOff"
    : undefined;
  for (const [i, filter] of (listener.listener_filters ?? []).entries()) {
    const url = filter.typed_config?.type_url ?? "";
    const disabled = filter.filter_disabled
      ? compilePredicate(filter.filter_disabled, scope.at(i, "filter_disabled"))
      : undefined;
    if (url.endsWith(TLS_INSPECTOR)) {
      inspectTls = true;
      inspectors.push(disabled);
    } else if (url.endsWith(ORIGINAL_DST)) {
      originalDst ??= "restore";
      if (disabled) scope.at(i, "filter_disabled").fail("is supported for inspectors only");
    } else if (url.endsWith(HTTP_INSPECTOR)) inspectors.push(disabled);
    else scope.at(i).fail(`listener filter ${filter.name ?? ""} (${url}) is not supported`);
  }
  const tests = inspectors.filter((test) => test !== undefined);
  return {
    inspectTls,
    originalDst,
    isUninspected:
      tests.length > 0 && tests.length === inspectors.length
        ? (port) => tests.every((test) => test(port))
        : undefined,
  };
}

function compilePredicate(predicate: Predicate, scope: Scope): PortTest {
  const { any_match, not_match, or_match, destination_port_range: range } = predicate;
  if (any_match) return () => true;
  if (range) {
    const { start, end } = range;
    return (port) => port >= (start ?? 0) && port < (end ?? 0);
  }
  if (not_match) {
    const test = compilePredicate(not_match, scope.at("not_match"));
    return (port) => !test(port);
  }
  if (or_match) {
    const tests = (or_match.rules ?? []).map((rule, i) =>
      compilePredicate(rule, scope.at("or_match", "rules", i)),
    );
    return (port) => tests.some((test) => test(port));
  }
  scope.fail("must be one of any_match, destination_port_range, not_match, or_match");
  return () => false;
}
