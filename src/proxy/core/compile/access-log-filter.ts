import type {
  envoy_config_accesslog_v3_AccessLogFilter as AccessLogFilter,
  envoy_config_accesslog_v3_ComparisonFilter as ComparisonFilter,
  envoy_config_accesslog_v3_GrpcStatusFilter as GrpcStatusFilter,
  envoy_config_accesslog_v3_LogTypeFilter as LogTypeFilter,
  envoy_config_accesslog_v3_MetadataFilter as MetadataFilter,
  envoy_config_accesslog_v3_ResponseFlagFilter as ResponseFlagFilter,
  envoy_config_accesslog_v3_RuntimeFilter as RuntimeFilter,
} from "../../../xds/index.ts";
import { grpcStatusFromAnswer } from "../grpc.ts";
import { type HeaderValues, headerMatches } from "../header-match.ts";
import { metadataAt } from "../metadata.ts";
import type { AccessLogPredicate, AccessLogRecord, AccessLogType } from "../runtime-config.ts";
import { compileValueMatcher } from "./metadata-matcher.ts";
import type { Scope } from "./scope.ts";
import { compileHeaderMatcher } from "./string-matcher.ts";

const KINDS =
  "status_code_filter, duration_filter, not_health_check_filter, traceable_filter, runtime_filter, " +
  "and_filter, or_filter, header_filter, response_flag_filter, grpc_status_filter, " +
  "metadata_filter, log_type_filter";

const NO_HEADERS: HeaderValues = { get: () => undefined };

/** Compiles the filter of an access logger. Problems go to `scope`. */
export function compileAccessLogFilter(filter: AccessLogFilter, scope: Scope): AccessLogPredicate {
  if (filter.and_filter) {
    const tests = compileList(filter.and_filter.filters ?? [], scope.at("and_filter"));
    return (record, random) => tests.every((test) => test(record, random));
  }
  if (filter.or_filter) {
    const tests = compileList(filter.or_filter.filters ?? [], scope.at("or_filter"));
    return (record, random) => tests.some((test) => test(record, random));
  }
  return compileNumeric(filter, scope) ?? compileTest(filter, scope);
}

function compileList(
  filters: readonly AccessLogFilter[],
  scope: Scope,
): readonly AccessLogPredicate[] {
  const place = scope.at("filters");
  if (filters.length < 2) place.fail(`must hold at least 2 filters (found ${filters.length})`);
  return filters.map((filter, i) => compileAccessLogFilter(filter, place.at(i)));
}

function compileNumeric(filter: AccessLogFilter, scope: Scope): AccessLogPredicate | undefined {
  if (filter.status_code_filter) {
    const { comparison } = filter.status_code_filter;
    const test = compileComparison(comparison, scope.at("status_code_filter", "comparison"));
    return (record) => test(record.responseCode);
  }
  if (filter.duration_filter) {
    const { comparison } = filter.duration_filter;
    const test = compileComparison(comparison, scope.at("duration_filter", "comparison"));
    return (record) => test(Math.trunc(record.durationMs));
  }
  if (filter.runtime_filter) {
    return compileSampling(filter.runtime_filter, scope.at("runtime_filter"));
  }
  return undefined;
}

function compileTest(filter: AccessLogFilter, scope: Scope): AccessLogPredicate {
  // There is no health check filter: no request is known to be one.
  if (filter.not_health_check_filter) return () => true;
  if (filter.traceable_filter) return (record) => record.isTraceForced === true;
  if (filter.header_filter) {
    const place = scope.at("header_filter", "header");
    if (!filter.header_filter.header) place.fail("is required");
    const matcher = compileHeaderMatcher(filter.header_filter.header ?? {}, place);
    return ({ headers = NO_HEADERS }) => headerMatches(matcher, headers);
  }
  if (filter.response_flag_filter) {
    return compileFlags(filter.response_flag_filter, scope.at("response_flag_filter"));
  }
  if (filter.grpc_status_filter) {
    return compileGrpcStatus(filter.grpc_status_filter, scope.at("grpc_status_filter"));
  }
  if (filter.metadata_filter) {
    return compileMetadata(filter.metadata_filter, scope.at("metadata_filter", "matcher"));
  }
  if (filter.log_type_filter) {
    return compileLogType(filter.log_type_filter, scope.at("log_type_filter"));
  }
  if (filter.extension_filter) {
    const { name, typed_config: config } = filter.extension_filter;
    const found = config?.type_url || name;
    scope.at("extension_filter").fail(`${found ?? ""} is not supported`);
  } else scope.fail(`must set one of ${KINDS}`);
  return () => false;
}

/** ComparisonFilter.Op: EQ, GE, LE. */
function compileComparison(
  comparison: ComparisonFilter | null | undefined,
  scope: Scope,
): (value: number) => boolean {
  if (!comparison) scope.fail("is required");
  else if (!comparison.value) scope.at("value").fail("is required");
  else if (!comparison.value.runtime_key) scope.at("value", "runtime_key").fail("is required");
  const limit = comparison?.value?.default_value ?? 0;
  switch (comparison?.op ?? 0) {
    case 0:
      return (value) => value === limit;
    case 1:
      return (value) => value >= limit;
    case 2:
      return (value) => value <= limit;
    default:
      scope.at("op").fail("must be EQ, GE or LE");
      return () => false;
  }
}

const DENOMINATORS = [100, 10_000, 1_000_000] as const;

/** A part of the requests: those of one x-request-id are all in it or none. */
function compileSampling(filter: RuntimeFilter, scope: Scope): AccessLogPredicate {
  if (!filter.runtime_key) scope.at("runtime_key").fail("must not be empty");
  const denominator = DENOMINATORS[filter.percent_sampled?.denominator ?? 0] ?? 100;
  const numerator = Math.min(filter.percent_sampled?.numerator ?? 0, denominator);
  const isIndependent = filter.use_independent_randomness ?? false;
  return (record, random) => {
    const known = isIndependent ? undefined : requestIdNumber(record);
    return (known ?? Math.floor(random() * denominator)) % denominator < numerator;
  };
}

/** As Envoy's UUID extension: the first eight digits of x-request-id. */
function requestIdNumber(record: AccessLogRecord): number | undefined {
  const start = record.requestHeader("x-request-id")?.slice(0, 8) ?? "";
  return /^[0-9a-f]{8}$/i.test(start) ? Number.parseInt(start, 16) : undefined;
}

/** What Envoy's validation of the filter knows. */
const FLAGS: ReadonlySet<string> = new Set(
  "LH UH UT LR UR UF UC UO NR DI FI RL UAEX RLSE DC URX SI IH DPE UMSDR RFCF NFCF DT UPE NC OM DF DO DR".split(
    " ",
  ),
);

function compileFlags(filter: ResponseFlagFilter, scope: Scope): AccessLogPredicate {
  const flags = filter.flags ?? [];
  for (const [i, flag] of flags.entries()) {
    if (!FLAGS.has(flag)) scope.at("flags", i).fail(`${flag} is not a response flag`);
  }
  if (flags.length === 0) return ({ responseFlags }) => responseFlags !== "";
  return ({ responseFlags }) => {
    if (responseFlags === "") return false;
    const found = responseFlags.split(",");
    return flags.some((flag) => found.includes(flag));
  };
}

/** GrpcStatusFilter.Status is the number on the wire. */
const HIGHEST_STATUS = 16;

function compileGrpcStatus(filter: GrpcStatusFilter, scope: Scope): AccessLogPredicate {
  for (const [i, status] of (filter.statuses ?? []).entries()) {
    if (status > HIGHEST_STATUS) scope.at("statuses", i).fail("is not a gRPC status");
  }
  const statuses: ReadonlySet<number> = new Set(filter.statuses ?? []);
  const isExcluded = filter.exclude ?? false;
  return (record) => statuses.has(grpcStatusFromAnswer(record)) !== isExcluded;
}

/** A value that is not there passes, unless `match_if_key_not_found` says otherwise. */
function compileMetadata(filter: MetadataFilter, scope: Scope): AccessLogPredicate {
  const { matcher } = filter;
  const passesAbsent = filter.match_if_key_not_found
    ? (filter.match_if_key_not_found.value ?? false)
    : true;
  const name = matcher?.filter ?? "";
  if (!matcher) return () => passesAbsent;
  if (name === "") scope.at("filter").fail("must not be empty");
  const path = (matcher.path ?? []).map(({ key }) => key ?? "");
  if (path.length === 0) scope.at("path").fail("must not be empty");
  if (!matcher.value) scope.at("value").fail("is required");
  const test = compileValueMatcher(matcher.value ?? {}, scope.at("value"));
  return ({ metadata }) => {
    const value = metadataAt(metadata, name, path);
    return value === undefined ? passesAbsent : test(value);
  };
}

/** envoy.data.accesslog.v3.AccessLogType by number; undefined = it does not occur here. */
const LOG_TYPES: readonly (AccessLogType | undefined)[] = [
  "NotSet",
  "TcpUpstreamConnected",
  "TcpPeriodic",
  "TcpConnectionEnd",
  "DownstreamStart",
  "DownstreamPeriodic",
  "DownstreamEnd",
  undefined,
  undefined,
  undefined,
  "DownstreamTunnelSuccessfullyEstablished",
];
const HIGHEST_LOG_TYPE = 13;

function compileLogType(filter: LogTypeFilter, scope: Scope): AccessLogPredicate {
  for (const [i, type] of (filter.types ?? []).entries()) {
    if (type > HIGHEST_LOG_TYPE) scope.at("types", i).fail("is not an access log type");
  }
  const types = new Set((filter.types ?? []).map((type) => LOG_TYPES[type]));
  const isExcluded = filter.exclude ?? false;
  return (record) => types.has(record.logType) !== isExcluded;
}
