/** How a cluster's hosts are asked whether they are well. Times in milliseconds. */
export interface HealthCheckConfig {
  readonly timeoutMs: number;
  readonly intervalMs: number;
  /** While a host is about to become healthy. */
  readonly healthyEdgeIntervalMs: number;
  readonly unhealthyIntervalMs: number;
  /** While a host is about to become unhealthy. */
  readonly unhealthyEdgeIntervalMs: number;
  /** While the cluster has not been connected to. */
  readonly noTrafficIntervalMs: number;
  readonly noTrafficHealthyIntervalMs: number;
  /** The first check waits up to this. */
  readonly initialJitterMs: number;
  readonly intervalJitterMs: number;
  readonly intervalJitterPercent: number;
  readonly unhealthyThreshold: number;
  readonly healthyThreshold: number;
  readonly reusesConnection: boolean;
  /** In place of the endpoint's port. */
  readonly altPort: number | undefined;
  /** In place of the cluster's ALPN offer; empty = the cluster's. */
  readonly alpnProtocols: readonly string[];
  readonly probe: HttpProbeConfig | TcpProbeConfig | GrpcProbeConfig;
}

export interface HttpProbeConfig {
  readonly kind: "http";
  readonly method: string;
  readonly path: string;
  /** "" = the endpoint's hostname, else the cluster's name. */
  readonly host: string;
  /** Lower-case names. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly removedHeaders: ReadonlySet<string>;
  isExpected(status: number): boolean;
  /** Counts towards the threshold instead of failing at once. */
  isRetriable(status: number): boolean;
  /** What the body must hold, in this order. */
  readonly receive: readonly Buffer[];
  /** Of the body, so much is looked at. */
  readonly bodyLimitBytes: number;
  readonly isHttp2?: boolean;
  /** What the host must call its service; undefined = anything. */
  readonly isService?: ((name: string) => boolean) | undefined;
}

export interface GrpcProbeConfig {
  readonly kind: "grpc";
  /** "" = the server as a whole. */
  readonly serviceName: string;
  /** "" = the endpoint's hostname, else the cluster's name. */
  readonly authority: string;
  /** Lower-case names. */
  readonly headers: readonly (readonly [name: string, value: string])[];
}

export interface TcpProbeConfig {
  readonly kind: "tcp";
  readonly send: Buffer | undefined;
  /** What must come, in this order; nothing = a connection is enough. */
  readonly receive: readonly Buffer[];
}

/** How one check ended. `failed` = the host says that it is ill; `unreachable` = it says nothing. */
export type ProbeResult =
  | { readonly kind: "passed"; readonly isDegraded: boolean }
  | { readonly kind: "failed"; readonly isRetriable: boolean }
  | { readonly kind: "unreachable" };

/** What the checks of a host have come to. */
export interface HostCheckState {
  readonly isHealthy: boolean;
  readonly isDegraded: boolean;
  readonly isFirstCheck: boolean;
  /** Results in a row that speak against the present state. */
  readonly against: number;
}

/** A host is unhealthy until it has passed a check. */
export const UNCHECKED: HostCheckState = {
  isHealthy: false,
  isDegraded: false,
  isFirstCheck: true,
  against: 0,
};

/** The state after a check. Source: Envoy docs, "Health checking", and its thresholds. */
export function afterCheck(
  state: HostCheckState,
  result: ProbeResult,
  config: Pick<HealthCheckConfig, "healthyThreshold" | "unhealthyThreshold">,
): HostCheckState {
  const isDegraded = result.kind === "passed" ? result.isDegraded : state.isDegraded;
  const same = { ...state, isDegraded, isFirstCheck: false, against: 0 };
  const against = state.against + 1;
  if (result.kind === "passed") {
    if (state.isHealthy) return same;
    // The first check decides at once: hosts come into use quickly.
    const isEnough = state.isFirstCheck || against >= config.healthyThreshold;
    return isEnough ? { ...same, isHealthy: true } : { ...same, against };
  }
  if (!state.isHealthy) return same;
  const isPlain = result.kind === "failed" && !result.isRetriable;
  const isEnough = isPlain || against >= config.unhealthyThreshold;
  return isEnough ? { ...same, isHealthy: false } : { ...same, against };
}

/** How long until the next check of a host. `random` in [0, 1). */
export function nextCheckMs(
  state: HostCheckState,
  hasPassed: boolean,
  hasTraffic: boolean,
  config: HealthCheckConfig,
  random: () => number,
): number {
  const isPending = state.against > 0;
  let baseMs: number;
  if (!hasTraffic) {
    baseMs =
      hasPassed && !isPending ? config.noTrafficHealthyIntervalMs : config.noTrafficIntervalMs;
  } else if (hasPassed) baseMs = isPending ? config.healthyEdgeIntervalMs : config.intervalMs;
  else baseMs = isPending ? config.unhealthyEdgeIntervalMs : config.unhealthyIntervalMs;
  const jitterMs = (baseMs * config.intervalJitterPercent) / 100;
  if (jitterMs > 0) baseMs += random() * jitterMs;
  if (config.intervalJitterMs > 0) baseMs += random() * config.intervalJitterMs;
  return baseMs;
}

/** Whether the patterns occur in the bytes in their order, one after the other. */
export function containsInOrder(bytes: Buffer, patterns: readonly Buffer[]): boolean {
  let from = 0;
  for (const pattern of patterns) {
    const at = bytes.indexOf(pattern, from);
    if (at < 0) return false;
    from = at + pattern.length;
  }
  return true;
}
