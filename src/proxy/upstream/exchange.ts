import { randomUUID } from "node:crypto";
import type {
  AccessLogRecord,
  AccessLogType,
  ClusterConfig,
  EndpointConfig,
  GrpcMessages,
  HeaderMutation,
  HttpConnectionManagerConfig,
  MirrorPolicy,
  PeerInfo,
  RetryPolicy,
  RouteConfig,
  RuntimeConfig,
  TlsFacts,
  VirtualHostConfig,
  WeightedClusterChoice,
} from "../config/runtime-config.ts";
import type { ProxyContext } from "../context.ts";
import { isInternalRequest, trustedRemoteIp } from "../core/forwarded-for.ts";
import { grpcStatusOf, isGrpcContentType } from "../core/grpc.ts";
import { GrpcMessageCounter } from "../core/grpc-messages.ts";
import type { RequestHash } from "../core/hash-policy.ts";
import type { RequestHead, ResponseHead } from "../core/http1/head-parser.ts";
import type { HeaderBlock } from "../core/http1/header-block.ts";
import type { DynamicMetadata, MetadataValue } from "../core/metadata.ts";
import type { AttemptOutcome } from "../core/outlier.ts";
import {
  type Failure,
  type LocalReply,
  RESET_FLAGS,
  rescue,
  type UpstreamReset,
} from "../core/rescue.ts";
import {
  type RetryResponse,
  rateLimitedBackoffMs,
  retriesReset,
  retriesResponse,
  retryBackoffMs,
} from "../core/retry-policy.ts";
import type { HeaderSource } from "../core/route.ts";
import { type SessionState, sessionHeader } from "../core/session-state.ts";
import { mutateHeaders } from "../http1/header-mutation.ts";
import { localReplyHead } from "../http1/local-reply.ts";
import { setHost } from "../http1/set-host.ts";
import { formatAddress } from "../net/connection-info.ts";
import type { Destination } from "../net/original-destination.ts";
import { Deadline, type DeadlineOwner } from "../net/timer-wheel.ts";
import {
  type BodyKind,
  bodyKind,
  type DownstreamConnection,
  type DownstreamStream,
  type Tunnel,
  type UpstreamRequest,
  type UpstreamStream,
} from "../streams.ts";
import { tlsFacts } from "../tls/certificate-facts.ts";
import type { PeerIdentity } from "../tls/secure-contexts.ts";
import type { RequestTrace } from "../tracing/request-trace.ts";
import type { ClusterRuntime, TriedPriorities } from "./cluster-runtime.ts";
import type { HostPool } from "./host-pool.ts";
import { sendMirror } from "./mirror.ts";
import { openTcpTunnel } from "./tcp-tunnel.ts";

/** What is kept of a request body for a retry or a mirror; Envoy's per-connection buffer limit. */
const MAX_REPLAY_BYTES = 1_048_576;
/** Without an upstream connection the client is read only this far. */
const MAX_WAITING_BYTES = 65_536;

/** A client's host, as its request names it, and where the answer says which it is. */
export interface RequestSession {
  readonly state: SessionState;
  readonly isStrict: boolean;
  /** `ip:port`; undefined when the client has none yet. */
  readonly address: string | undefined;
}

/** What the route decided, for a request that is forwarded. */
export interface ForwardPlan {
  readonly cluster: ClusterRuntime;
  readonly clusterConfig: ClusterConfig;
  readonly timeoutMs: number;
  readonly streamDurationMs: number;
  readonly retry: RetryPolicy | undefined;
  readonly mirrors: readonly MirrorPolicy[];
  readonly includeAttemptCount: boolean;
  readonly weightedResponseHeaders: HeaderMutation | undefined;
  readonly hash: RequestHash | undefined;
  readonly isHighPriority: boolean;
  /** The request gets the name of its endpoint, where that has one. */
  readonly autoHost: { readonly appendsForwardedHost: boolean } | undefined;
  readonly tunnel: Tunnel | undefined;
  /** The host of a cluster that passes on to where requests were going. */
  readonly destination: Destination | undefined;
}

/**
 *   start ──(fault)──► delayed ──► trying, replied
 *   start ──► trying ──(response head)──► responding ──► finished
 *     │         │ ▲                          │
 *     │         ▼ │ back-off                 └─(upstream dies)─► finished, broken
 *     └────► replied locally ──► finished
 */
type Phase = "start" | "delayed" | "trying" | "backingOff" | "responding" | "finished";

/**
 * One request from its head to its last byte: the tries, the response, and the record of it all for
 * telemetry, which gets it exactly once.
 */
export class Exchange implements UpstreamStream, AccessLogRecord, HeaderSource, DeadlineOwner {
  readonly context: ProxyContext;
  readonly connection: DownstreamConnection;
  readonly downstream: DownstreamStream;
  readonly head: RequestHead;
  /** The configuration this request started with. */
  readonly config: RuntimeConfig;
  readonly manager: HttpConnectionManagerConfig;
  readonly startTimeMs: number;
  target: string;
  /** Of the stream, as its connection looks after it; 0 = none. */
  idleTimeoutMs: number;
  /** The caller is trusted to say how its request is treated. */
  readonly isInternal: boolean;
  route: RouteConfig | undefined;
  /** Set on the answer, whoever gives it, after the route's own edits. */
  #answerHeaders: readonly (readonly [name: string, value: string])[] = [];
  /** Applied to an answer of the proxy's own. */
  answerMutation: HeaderMutation | undefined;
  #metadata: Map<string, MetadataValue> | undefined;
  virtualHost: VirtualHostConfig | undefined;
  /** The host that the client stays with; undefined where no filter asks for it. */
  session: RequestSession | undefined;
  /** Undefined where nothing is traced. */
  trace: RequestTrace | undefined;
  /** The cluster that the route chose for this request; undefined where it does not forward. */
  clusterChoice: WeightedClusterChoice | undefined;

  responseCode = 0;
  responseFlags = "";
  responseCodeDetails = "";
  bytesReceived = 0;
  bytesSent = 0;
  upstreamServiceTimeMs: number | undefined = undefined;
  originalPath: string | undefined = undefined;
  upstreamTransportFailureReason = "";
  upstreamLocalAddress = "";
  upstreamProtocol: string | undefined = undefined;
  upstreamHost: EndpointConfig | undefined = undefined;
  upstreamCluster: ClusterConfig | undefined = undefined;
  attemptCount = 0;
  logType: AccessLogType = "DownstreamEnd";

  /** As received. */
  readonly #forwardedFor: string | undefined;
  /** Undefined while it is not over. */
  #durationMs: number | undefined;
  #phase: Phase = "start";
  #plan: ForwardPlan | undefined;
  #sample: number | undefined;
  /** Of a gRPC call only. */
  #messages: { request: GrpcMessageCounter; response: GrpcMessageCounter } | undefined;
  #host: HostPool | undefined;
  /** Of the latest try, over or not. */
  #lastHost: HostPool | undefined;
  #triedHosts: HostPool[] | undefined;
  #upstream: UpstreamRequest | undefined;
  /** The request body so far, when it may be needed again or cannot be sent yet. */
  #body: Buffer[] | undefined;
  #bodyBytes = 0;
  #canReplay = true;
  #trailers: HeaderBlock | undefined;
  #isRequestComplete = false;
  #isRetry = false;
  /** One of the cluster's retries is this one. */
  #isRetryCounted = false;
  /** The attempt counts among the cluster's active requests. */
  #isOnUpstream = false;
  #responseHead: ResponseHead | undefined;
  #responseTrailers: HeaderBlock | undefined;
  #responseTimeout: Deadline | undefined;
  #perTryTimeout: Deadline | undefined;
  #perTryIdleTimeout: Deadline | undefined;
  #streamTimeout: Deadline | undefined;
  /** Until the whole request is here. */
  #requestTimeout: Deadline | undefined;
  /** The wait that the response before this try asked for. */
  #askedBackoffMs: number | undefined;
  #cancelBackoff: (() => void) | undefined;
  #cancelLog: (() => void) | undefined;
  #attemptStartMs = 0;
  #requestEndMs: number | undefined = undefined;

  constructor(connection: DownstreamConnection, downstream: DownstreamStream, head: RequestHead) {
    this.connection = connection;
    this.downstream = downstream;
    this.context = connection.context;
    this.config = connection.context.config;
    this.manager = connection.manager;
    this.head = head;
    this.target = head.target;
    this.#forwardedFor = head.headers.get("x-forwarded-for");
    this.startTimeMs = performance.now();
    const { manager } = this;
    this.idleTimeoutMs = manager.streamIdleTimeoutMs;
    this.isInternal =
      manager.isInternalAddress !== undefined &&
      isInternalRequest(
        connection.remoteIp,
        this.#forwardedFor,
        manager,
        manager.isInternalAddress,
      );
    if (manager.requestTimeoutMs > 0) {
      this.#requestTimeout = new Deadline(this);
      this.context.deadlines.arm(this.#requestTimeout, manager.requestTimeoutMs);
    }
  }

  get method(): string {
    return this.head.method;
  }
  get path(): string {
    return this.target;
  }
  get protocol(): string {
    return this.downstream.protocol;
  }
  get scheme(): "http" | "https" {
    if (this.head.scheme === undefined) return this.connection.isTls ? "https" : "http";
    return this.head.scheme === "https" ? "https" : "http";
  }
  /** As the upstream sees it; the routes matched `head.authority`. */
  get authority(): string {
    return this.head.headers.first("host") ?? this.head.authority;
  }
  get isGrpc(): boolean {
    return isGrpcContentType(this.head.headers.first("content-type"));
  }
  /** As the client says it where it can, else as the proxy before this one does. */
  get statedScheme(): "http" | "https" {
    if (this.head.scheme !== undefined) return this.scheme;
    const forwarded = this.head.headers.first("x-forwarded-proto");
    return forwarded === "https" || forwarded === "http" ? forwarded : this.scheme;
  }
  get isTraceForced(): boolean {
    return this.trace?.reason === "service_forced";
  }
  get traceId(): string | undefined {
    return this.trace?.context?.traceId;
  }
  get spanId(): string | undefined {
    // As Envoy: its Zipkin tracer does not tell.
    if (this.manager.tracing?.tracer.kind !== "opentelemetry") return undefined;
    return this.trace?.context?.spanId;
  }
  get grpcMessages(): GrpcMessages | undefined {
    return this.#messages;
  }
  get routeMetadata(): DynamicMetadata | undefined {
    return this.route?.metadata;
  }
  get routeName(): string {
    return this.route?.name ?? "";
  }
  get direction(): "inbound" | "outbound" | "unspecified" {
    return this.manager.direction;
  }
  get downstreamLocalAddress(): string {
    return this.connection.localAddress;
  }
  get downstreamRemoteAddress(): string {
    const { remoteIp, connection } = this;
    return remoteIp === connection.remoteIp ? connection.remoteAddress : formatAddress(remoteIp, 0);
  }
  get downstreamDirectRemoteAddress(): string {
    return this.connection.remoteAddress;
  }
  get downstreamCertificate(): PeerIdentity | undefined {
    return this.connection.identity;
  }
  get durationMs(): number {
    return this.#durationMs ?? performance.now() - this.startTimeMs;
  }
  get downstreamPeerPrincipal(): string | undefined {
    return this.connection.identity?.principal;
  }
  get downstreamPeer(): PeerInfo | undefined {
    return undefined;
  }
  get isMutualTls(): boolean {
    return this.connection.identity !== undefined;
  }
  get downstreamTls(): TlsFacts | undefined {
    return this.connection.tlsSession && tlsFacts(this.connection.tlsSession);
  }
  get virtualHostMetadata(): DynamicMetadata | undefined {
    return this.virtualHost?.metadata;
  }
  get requestEndMs(): number | undefined {
    return this.head.framing.kind === "none" ? this.startTimeMs : this.#requestEndMs;
  }
  get connectionId(): number {
    return connectionIdOf(this.connection);
  }
  get attemptStartMs(): number | undefined {
    // A try begins with its connection.
    return this.upstreamLocalAddress === "" ? undefined : this.#attemptStartMs;
  }
  uniqueId(): string {
    return randomUUID();
  }
  get requestedServerName(): string {
    return this.connection.requestedServerName;
  }
  /** Counts against the cluster's limits for priority HIGH. */
  get isHighPriority(): boolean {
    return this.#plan?.isHighPriority === true;
  }
  get isRequestComplete(): boolean {
    return this.#isRequestComplete;
  }
  get isFinished(): boolean {
    return this.#phase === "finished";
  }

  /** In [0, 1), the same for the whole request. */
  get sample(): number {
    this.#sample ??= this.context.random();
    return this.#sample;
  }

  /** A header or pseudo header, for matchers. */
  get(name: string): string | undefined {
    if (name.charCodeAt(0) !== 58) return this.head.headers.get(name);
    switch (name) {
      case ":method":
        return this.head.method;
      case ":path":
        return this.target;
      case ":authority":
        return this.head.authority;
      case ":scheme":
        return this.scheme;
      default:
        return undefined;
    }
  }

  /** All values of a header, one by one. */
  values(name: string): readonly string[] {
    return this.head.headers.all(name);
  }

  /** Where access log filters find them. */
  get headers(): this {
    return this;
  }

  requestHeader(name: string): string | undefined {
    if (name.charCodeAt(0) === 58) return this.get(name);
    const value = this.head.headers.first(name);
    if (value !== undefined || !name.startsWith("x-envoy-peer-metadata")) return value;
    return this.head.headers.received(name);
  }

  responseHeader(name: string): string | undefined {
    if (name === ":status") return this.#responseHead && String(this.#responseHead.status);
    return this.#responseHead?.headers.first(name);
  }

  responseTrailer(name: string): string | undefined {
    return this.#responseTrailers?.first(name);
  }

  /** What filters have said about this request; undefined when nothing. */
  get metadata(): DynamicMetadata | undefined {
    return this.#metadata;
  }

  /** Adds fields to a filter's metadata. */
  addMetadata(filter: string, fields: Readonly<Record<string, MetadataValue>>): void {
    this.#metadata ??= new Map();
    const before = this.#metadata.get(filter);
    const isObject = typeof before === "object" && before !== null && !Array.isArray(before);
    this.#metadata.set(filter, isObject ? { ...before, ...fields } : fields);
  }

  /** Sets headers on the answer, whoever gives it. */
  setOnAnswer(headers: readonly (readonly [name: string, value: string])[]): void {
    if (headers.length > 0) this.#answerHeaders = [...this.#answerHeaders, ...headers];
  }

  /** Writes the access logs as they may be written at the start of a request, and sees to later ones. */
  logStart(): void {
    const times = this.manager.accessLogTimes;
    if (times === undefined) return;
    if (times.atStart) this.#log("DownstreamStart");
    if (times.intervalMs > 0) this.#logLater(times.intervalMs);
  }

  #logLater(intervalMs: number): void {
    this.#cancelLog = this.context.clock.schedule(intervalMs, () => {
      this.#log("DownstreamPeriodic");
      this.#logLater(intervalMs);
    });
  }

  /** Writes the access logs before the end. */
  #log(type: AccessLogType): void {
    this.logType = type;
    this.context.telemetry.log(this, this.manager.accessLogs);
    this.logType = "DownstreamEnd";
  }

  /** The client's address as far as x-forwarded-for is trusted. */
  get remoteIp(): string {
    return trustedRemoteIp(this.connection.remoteIp, this.#forwardedFor, this.manager);
  }

  // ── the request ──────────────────────────────────────────────────────────

  onRequestData(bytes: Buffer, start: number, end: number): void {
    this.bytesReceived += end - start;
    if (this.#messages !== undefined) this.#messages.request.add(bytes, start, end);
    if (this.#phase === "finished" || this.#phase === "responding") {
      // The response overtook the request; what the upstream still takes, it gets.
      this.#upstream?.writeData(bytes, start, end);
      return;
    }
    const isSent = this.#upstream !== undefined;
    if (this.#upstream !== undefined) {
      this.#upstream.writeData(bytes, start, end);
      if (this.#perTryIdleTimeout !== undefined) this.#touchTry();
      if (this.#upstream.isBlocked) this.downstream.pauseReading();
    }
    if (this.#plan === undefined && this.#phase !== "delayed") return;
    if (isSent && !this.#canReplay) return;
    this.#body ??= [];
    // A copy: what was read is valid during the call only.
    this.#body.push(Buffer.from(bytes.subarray(start, end)));
    this.#bodyBytes += end - start;
    if (this.#bodyBytes > MAX_REPLAY_BYTES) this.#canReplay = false;
    if (!isSent && this.#bodyBytes > MAX_WAITING_BYTES) this.downstream.pauseReading();
    if (isSent && !this.#canReplay) this.#body = undefined;
  }

  onRequestEnd(trailers: HeaderBlock | undefined): void {
    this.#requestEndMs = performance.now();
    this.#isRequestComplete = true;
    this.trace?.mark("last_downstream_rx_byte_received");
    if (this.#requestTimeout !== undefined) this.context.deadlines.disarm(this.#requestTimeout);
    this.#trailers = trailers;
    if (this.#upstream !== undefined) {
      this.#upstream.writeEnd(trailers);
      this.trace?.mark("last_upstream_tx_byte_sent");
    }
    if (this.#plan !== undefined) this.#requestIsWhole(this.#plan);
  }

  /** The client has nothing more to say in its tunnel; the other way may go on. */
  onTunnelEnd(): void {
    this.#upstream?.endTunnel?.();
  }

  /** One read of the client has been handed over. */
  flushRequest(): void {
    const upstream = this.#upstream;
    if (upstream === undefined) return;
    upstream.flush();
    if (upstream.isBlocked) this.downstream.pauseReading();
  }

  /** The client went away: nothing more can be told to it. */
  onDownstreamClosed(details: string, flag: "DC" | "DR" = "DC"): void {
    if (this.#phase === "finished") return;
    this.#addFlag(flag);
    this.responseCodeDetails = details;
    this.#dropUpstream(undefined);
    this.#finish();
  }

  /** The client's socket takes more again. */
  onDownstreamDrain(): void {
    this.#upstream?.resume();
  }

  // ── forwarding ───────────────────────────────────────────────────────────

  /** Holds the request, its body up to a limit included, and then calls `goOn`. */
  delay(durationMs: number, goOn: () => void): void {
    this.#phase = "delayed";
    this.#addFlag("DI");
    this.#cancelBackoff = this.context.clock.schedule(durationMs, () => {
      this.#cancelBackoff = undefined;
      this.#phase = "start";
      goOn();
    });
  }

  /** Holds the request until the function it returns is called, which goes on with `goOn`. */
  hold(goOn: () => void): () => void {
    this.#phase = "delayed";
    return () => {
      if (this.#phase !== "delayed") return;
      this.#phase = "start";
      goOn();
    };
  }

  /** Starts the first try. Every header edit that all tries share has been made. */
  forward(plan: ForwardPlan): void {
    this.#plan = plan;
    this.upstreamCluster = plan.clusterConfig;
    if (this.isGrpc) this.#countMessages();
    if (plan.streamDurationMs > 0) {
      this.#streamTimeout = new Deadline(this);
      this.context.deadlines.arm(this.#streamTimeout, plan.streamDurationMs);
    }
    const mayRetry = plan.retry !== undefined && plan.retry.numRetries > 0;
    this.#canReplay = mayRetry || plan.mirrors.length > 0;
    this.#try();
    // A delayed request may have ended before it is sent; the deadlines run from now.
    if (this.#isRequestComplete) this.#requestIsWhole(plan);
  }

  #requestIsWhole(plan: ForwardPlan): void {
    if (this.isFinished) return;
    if (plan.mirrors.length > 0) this.#mirror(plan);
    this.#armTimeouts();
  }

  #try(): void {
    const plan = this.#plan;
    if (plan === undefined) return;
    this.#phase = "trying";
    this.attemptCount = this.#isRetry ? this.attemptCount + 1 : 1;
    const host =
      plan.clusterConfig.originalDst === undefined
        ? this.#pick(plan)
        : plan.destination && plan.cluster.hostAt(plan.destination);
    if (host === undefined) {
      plan.cluster.stats.noneHealthy.add(1);
      plan.cluster.countStatus(503);
      this.fail({ kind: "noHealthyUpstream" });
      return;
    }
    this.#host = host;
    this.#lastHost = host;
    this.upstreamHost = host.endpoint;
    this.trace?.tryStarted(host, plan.clusterConfig.altStatName, this.attemptCount);
    if (plan.autoHost !== undefined && host.endpoint.hostname !== "") {
      setHost(this.head.headers, host.endpoint.hostname, plan.autoHost.appendsForwardedHost);
    }
    this.#attemptStartMs = this.attemptCount === 1 ? this.startTimeMs : performance.now();
    host.activeRequests += 1;
    const isAccepted =
      plan.tunnel?.kind === "tcp"
        ? openTcpTunnel(host, this)
        : host.acquire(
            this,
            this.head.method,
            this.downstream.protocol === "HTTP/2",
            plan.tunnel !== undefined && plan.clusterConfig.http2.allowsConnect !== true,
          );
    if (!isAccepted) this.onReset("overflow", "");
  }

  #pick(plan: ForwardPlan): HostPool | undefined {
    const { session } = this;
    // As Envoy: a retry goes where it likes.
    if (session?.address !== undefined && !this.#isRetry) {
      const host = plan.cluster.hostByAddress(session.address);
      if (host !== undefined || session.isStrict) return host;
    }
    return plan.cluster.pick(
      this.#avoided(plan),
      plan.retry?.hostSelectionRetryMaxAttempts ?? 0,
      plan.hash?.hash,
      this.#triedPriorities(plan),
    );
  }

  /** Tells a client with a session which host it has, when that is news to it. */
  #tellSession(headers: HeaderBlock): void {
    const { session, upstreamHost } = this;
    if (session === undefined || upstreamHost === undefined) return;
    if (upstreamHost.key === session.address) return;
    const nowSeconds = Math.trunc(this.context.clock.nowMs() / 1000);
    const [name, value] = sessionHeader(session.state, upstreamHost.key, nowSeconds);
    if (name === "set-cookie") headers.add(name, value);
    else headers.set(name, value);
  }

  #countMessages(): void {
    this.#messages = { request: new GrpcMessageCounter(), response: new GrpcMessageCounter() };
    // What a delay has held back.
    for (const bytes of this.#body ?? []) this.#messages.request.add(bytes, 0, bytes.length);
  }

  /** Which hosts a retry keeps away from; undefined = none. */
  #avoided(plan: ForwardPlan): ((candidate: HostPool) => boolean) | undefined {
    const tried = this.#triedHosts;
    if (tried === undefined || plan.retry === undefined) return undefined;
    const { avoidPreviousHosts, omitsCanaryHosts } = plan.retry;
    if (!avoidPreviousHosts && !omitsCanaryHosts) return undefined;
    return (candidate) =>
      (avoidPreviousHosts && tried.includes(candidate)) ||
      (omitsCanaryHosts && candidate.endpoint.isCanary);
  }

  #triedPriorities(plan: ForwardPlan): TriedPriorities | undefined {
    const updateFrequency = plan.retry?.previousPriorities?.updateFrequency;
    if (this.#triedHosts === undefined || updateFrequency === undefined) return undefined;
    return {
      priorities: this.#triedHosts.map(({ endpoint }) => endpoint.priority),
      updateFrequency,
    };
  }

  onConnection(connection: UpstreamRequest): void {
    const plan = this.#plan;
    if (plan === undefined) return;
    this.#upstream = connection;
    this.#touchTry();
    plan.cluster.stats.requestsTotal.add(1);
    plan.cluster.stats.requestsActive.add(1);
    plan.cluster.circuitOf(this).requests.add(1);
    this.#isOnUpstream = true;
    const { head } = this;
    const { headers } = head;
    if (plan.includeAttemptCount) headers.set("x-envoy-attempt-count", String(this.attemptCount));
    if (this.manager.direction === "outbound") {
      for (const [name, value] of this.config.peerMetadataHeaders ?? []) {
        if (connection.tls !== undefined) headers.set(name, value);
        else if (this.#isRetry) headers.remove(name);
      }
    }
    this.upstreamLocalAddress = connection.localAddress;
    this.upstreamProtocol = connection.protocol;
    if (this.trace !== undefined) {
      this.trace.inject(headers, connection.protocol);
      this.trace.mark("first_upstream_tx_byte_sent");
    }
    connection.writeHead({
      method: head.method,
      target: this.target,
      scheme: this.scheme,
      headers,
      body: bodyKind(head.framing),
      tunnel: plan.tunnel,
    });
    if (this.#body !== undefined) {
      for (const bytes of this.#body) connection.writeData(bytes, 0, bytes.length);
      if (!this.#canReplay) this.#body = undefined;
    }
    if (this.#isRequestComplete) {
      connection.writeEnd(this.#trailers);
      this.trace?.mark("last_upstream_tx_byte_sent");
      connection.flush();
      this.#armPerTryTimeout();
    } else if (head.framing.kind !== "none") {
      connection.flush();
      if (!connection.isBlocked) this.downstream.resumeReading();
    }
  }

  onReleased(): void {
    const plan = this.#plan;
    if (plan === undefined || !this.#isOnUpstream) return;
    this.#isOnUpstream = false;
    plan.cluster.stats.requestsActive.add(-1);
    plan.cluster.circuitOf(this).requests.add(-1);
  }

  onUpstreamDrain(): void {
    this.downstream.resumeReading();
  }

  onReset(reason: UpstreamReset["reason"], transportFailure: string): void {
    const hasStarted = this.#upstream !== undefined;
    this.#upstream = undefined;
    if (transportFailure !== "") this.upstreamTransportFailureReason = transportFailure;
    this.trace?.tryReset(reason);
    if (this.#phase === "responding") {
      this.#breakResponse(reason);
      return;
    }
    if (reason !== "overflow") this.#recordOutcome({ status: 503, origin: "local" });
    const policy = this.#plan?.retry;
    if (policy !== undefined && retriesReset(policy, reason, hasStarted) && this.#mayRetry()) {
      this.#endAttempt(undefined);
      this.#retryLater();
      return;
    }
    this.#endAttempt(reason === "protocol error" ? 502 : 503);
    this.fail({ kind: "reset", reason, transportFailure });
  }

  // ── the response ─────────────────────────────────────────────────────────

  onResponseHead(head: ResponseHead): void {
    const plan = this.#plan;
    if (plan === undefined || this.#phase !== "trying") return;
    this.#recordOutcome({ status: head.status, origin: "external" });
    this.#touchTry();
    if (this.trace !== undefined) {
      this.trace.tryAnswered(head);
      this.trace.mark("first_upstream_rx_byte_received");
    }
    const policy = plan.retry;
    const asksForRetry = policy !== undefined && this.#retriesResponse(policy, head);
    if (asksForRetry && this.#mayRetry()) {
      plan.cluster.countRetriedStatus(head.status);
      this.#endAttempt(undefined);
      const upstream = this.#upstream;
      this.#upstream = undefined;
      upstream?.discard();
      this.#retryLater();
      return;
    }
    this.#phase = "responding";
    this.#releaseRetry();
    // The route's deadline is for the whole response; a try's only until it begins.
    if (this.#perTryTimeout !== undefined) this.context.deadlines.disarm(this.#perTryTimeout);
    this.#responseHead = head;
    this.responseCode = head.status;
    this.responseCodeDetails = "via_upstream";
    this.upstreamServiceTimeMs = performance.now() - this.#attemptStartMs;
    if (this.#isRetry && !asksForRetry) plan.cluster.stats.retrySuccess.add(1);
    this.#writeResponseHead(head, plan);
  }

  #retriesResponse(policy: RetryPolicy, head: ResponseHead): boolean {
    const response: RetryResponse = {
      status: head.status,
      headers: {
        get: (name) => (name === ":status" ? String(head.status) : head.headers.get(name)),
        values: (name) => head.headers.all(name),
      },
    };
    if (!retriesResponse(policy, response)) return false;
    const { rateLimitedBackoff } = policy;
    if (rateLimitedBackoff !== undefined) {
      const { clock, random } = this.context;
      this.#askedBackoffMs = rateLimitedBackoffMs(
        rateLimitedBackoff,
        response,
        clock.nowMs(),
        random(),
      );
    }
    return true;
  }

  #writeResponseHead(head: ResponseHead, plan: ForwardPlan): void {
    const { headers } = head;
    const { manager, downstream, route, method } = this;
    const hasNoBody = method === "HEAD" || head.status === 204 || head.status === 304;
    const isTunnel = opensTunnel(plan.tunnel, head.status);
    const body: BodyKind = isTunnel ? "tunnel" : hasNoBody ? "none" : bodyKind(head.framing);
    if (isTunnel && plan.tunnel?.kind === "upgrade") {
      headers.set("connection", "Upgrade");
      headers.set("upgrade", head.upgrade ?? plan.tunnel.protocol);
    }
    if (plan.weightedResponseHeaders !== undefined) {
      mutateHeaders(headers, plan.weightedResponseHeaders, this);
    }
    if (route?.responseHeaders !== undefined) mutateHeaders(headers, route.responseHeaders, this);
    if (plan.hash?.setCookie !== undefined) headers.add("set-cookie", plan.hash.setCookie);
    for (const [name, value] of this.#answerHeaders) headers.set(name, value);
    if (this.session !== undefined) this.#tellSession(headers);
    const serviceTimeMs = Math.trunc(this.upstreamServiceTimeMs ?? 0);
    headers.set("x-envoy-upstream-service-time", String(serviceTimeMs));
    this.#tellTrace(headers);
    if (manager.serverName !== "") headers.set("server", manager.serverName);
    if (!headers.has("date")) headers.add("date", downstream.dateHeader());
    downstream.writeHead(this, head.status, head.reason, headers, body);
    if (isTunnel && manager.accessLogTimes?.atTunnel === true) {
      this.#log("DownstreamTunnelSuccessfullyEstablished");
    }
  }

  /** What an answer says of the request's id and its trace. */
  #tellTrace(headers: HeaderBlock): void {
    const { manager, trace } = this;
    const request = this.head.headers;
    const isAsked = this.isInternal && request.has("x-envoy-force-trace");
    if (isAsked || manager.alwaysSetRequestIdInResponse === true) {
      const requestId = request.first("x-request-id");
      if (requestId !== undefined) headers.set("x-request-id", requestId);
    }
    if (trace === undefined) return;
    trace.decorateAnswer(headers);
    trace.mark("first_downstream_tx_byte_sent");
  }

  onResponseData(bytes: Buffer, start: number, end: number): void {
    if (this.#phase !== "responding") return;
    this.bytesSent += end - start;
    if (this.#messages !== undefined) this.#messages.response.add(bytes, start, end);
    if (this.#perTryIdleTimeout !== undefined) this.#touchTry();
    this.downstream.writeData(bytes, start, end);
  }

  onResponseFlush(): void {
    this.downstream.flush();
    if (this.downstream.isBlocked) this.#upstream?.pause();
  }

  onResponseEnd(trailers: HeaderBlock | undefined): void {
    this.#upstream = undefined;
    if (this.#phase !== "responding") return;
    this.#responseTrailers = trailers;
    if (this.trace !== undefined) {
      this.trace.mark("last_upstream_rx_byte_received");
      this.trace.tryCompleted();
    }
    if (this.responseCode === 101) {
      // As Envoy: an upgraded connection that its upstream closes counts as torn down.
      this.#addFlag(RESET_FLAGS["connection termination"]);
      this.responseCodeDetails = "upstream_reset_after_response_started{connection_termination}";
    }
    this.downstream.writeEnd(trailers);
    this.downstream.flush();
    this.#endAttempt(this.responseCode);
    this.#finish();
  }

  /** The response began in time but does not end in time. */
  #breakLate(flag: string, details: string): void {
    if (flag !== "") this.#addFlag(flag);
    this.responseCodeDetails = details;
    this.downstream.flush();
    this.#abandonAttempt(this.responseCode);
    this.downstream.breakOff();
    this.#finish();
  }

  /** The upstream died inside its response: the client must not take the part for the whole. */
  #breakResponse(reason: UpstreamReset["reason"]): void {
    this.#addFlag(RESET_FLAGS[reason]);
    this.responseCodeDetails = `upstream_reset_after_response_started{${reason.replaceAll(" ", "_")}}`;
    this.downstream.flush();
    this.#endAttempt(this.responseCode);
    this.downstream.breakOff();
    this.#finish();
  }

  // ── local answers ────────────────────────────────────────────────────────

  /** Answers for a failure, and finishes. */
  fail(failure: Failure): void {
    if (this.#phase === "finished") return;
    const answer = rescue(
      failure.kind === "reset" ? { ...failure, isRetry: this.attemptCount > 1 } : failure,
    );
    if (failure.kind === "reset" && failure.transportFailure !== "") {
      this.upstreamTransportFailureReason = failure.transportFailure;
    }
    if (answer.flag !== "") this.#addFlag(answer.flag);
    this.reply(answer, []);
  }

  /** Answers without an upstream: `extra` headers follow the usual ones. */
  reply(
    answer: Pick<LocalReply, "status" | "details" | "isOverloaded" | "grpcStatus"> & {
      readonly body: string | Buffer;
    },
    extra: readonly (readonly [name: string, value: string])[],
  ): void {
    this.#dropUpstream(answer.status);
    this.responseCodeDetails = answer.details;
    const body = typeof answer.body === "string" ? Buffer.from(answer.body) : answer.body;
    const { downstream, isGrpc } = this;
    // A gRPC client looks for its status in the head of an answer without messages.
    const status = isGrpc ? 200 : answer.status;
    const head = localReplyHead({
      status,
      bodyBytes: body.length,
      grpc: isGrpc
        ? {
            status: answer.grpcStatus ?? grpcStatusOf(answer.status),
            message: body.toString("utf8"),
          }
        : undefined,
      server: this.manager.serverName,
      date: downstream.dateHeader(),
      extra: answer.isOverloaded ? [...extra, ["x-envoy-overloaded", "true"]] : extra,
      edit: (local) => this.#editAnswer(local),
    });
    // After the head: as in Envoy, headers of the proxy's own answers cannot tell the code.
    this.responseCode = status;
    const hasBody = this.head.method !== "HEAD" && body.length > 0 && !isGrpc;
    downstream.writeHead(this, head.status, head.reason, head.headers, hasBody ? "length" : "none");
    if (hasBody) {
      this.bytesSent = body.length;
      downstream.writeData(body, 0, body.length);
    }
    downstream.writeEnd(undefined);
    downstream.flush();
    this.#finish();
  }

  #editAnswer(head: ResponseHead): void {
    const { headers } = head;
    this.#responseHead = head;
    for (const mutation of [this.#plan?.weightedResponseHeaders, this.route?.responseHeaders]) {
      if (mutation !== undefined) mutateHeaders(headers, mutation, this);
    }
    for (const [name, value] of this.#answerHeaders) headers.set(name, value);
    if (this.answerMutation !== undefined) mutateHeaders(headers, this.answerMutation, this);
    this.#tellTrace(headers);
  }

  // ── retries and deadlines ────────────────────────────────────────────────

  /** Whether limits allow another try; notes in the flags why not. */
  #mayRetry(): boolean {
    const plan = this.#plan;
    const policy = plan?.retry;
    if (plan === undefined || policy === undefined) return false;
    this.#releaseRetry();
    if (this.#bodyBytes > MAX_REPLAY_BYTES) return false;
    if (this.attemptCount > policy.numRetries) {
      this.#addFlag("URX");
      plan.cluster.stats.retryLimitExceeded.add(1);
      return false;
    }
    if (!this.#canReplay && this.#bodyBytes > 0) return false;
    if (!plan.cluster.circuitOf(this).canRetry) {
      plan.cluster.stats.retryOverflow.add(1);
      return false;
    }
    return true;
  }

  /** The retry on its way, if any, no longer counts among the cluster's. */
  #releaseRetry(): void {
    if (!this.#isRetryCounted) return;
    this.#isRetryCounted = false;
    this.#plan?.cluster.circuitOf(this).retries.add(-1);
  }

  #retryLater(): void {
    const plan = this.#plan;
    if (plan?.retry === undefined) return;
    this.#phase = "backingOff";
    this.#triedHosts ??= [];
    if (this.#lastHost !== undefined) this.#triedHosts.push(this.#lastHost);
    plan.cluster.circuitOf(this).retries.add(1);
    this.#isRetryCounted = true;
    this.#isRetry = true;
    plan.cluster.stats.retries.add(1);
    const askedMs = this.#askedBackoffMs;
    this.#askedBackoffMs = undefined;
    const { stats } = plan.cluster;
    (askedMs === undefined ? stats.retryBackoffExponential : stats.retryBackoffRateLimited).add(1);
    const delayMs = askedMs ?? retryBackoffMs(plan.retry, this.attemptCount, this.context.random());
    this.#cancelBackoff = this.context.clock.schedule(delayMs, () => {
      this.#cancelBackoff = undefined;
      this.#tellTimeLeft(plan);
      this.#try();
    });
  }

  #armTimeouts(): void {
    // As Envoy: a request that may become a tunnel never ends, so its deadline never begins.
    const timeoutMs = this.#plan?.tunnel === undefined ? (this.#plan?.timeoutMs ?? 0) : 0;
    if (timeoutMs > 0 && (this.#phase === "trying" || this.#phase === "backingOff")) {
      this.#responseTimeout = new Deadline(this);
      this.context.deadlines.arm(this.#responseTimeout, timeoutMs);
    }
    if (this.#upstream !== undefined) this.#armPerTryTimeout();
  }

  /** A retry has less time than the try before it. */
  #tellTimeLeft({ timeoutMs, retry }: ForwardPlan): void {
    if (timeoutMs === 0) return;
    const leftMs = Math.max(0, timeoutMs - (performance.now() - this.startTimeMs));
    const perTryMs = retry?.perTryTimeoutMs ?? 0;
    const expectedMs = Math.floor(perTryMs > 0 ? Math.min(perTryMs, leftMs) : leftMs);
    const { headers } = this.head;
    if (expectedMs > 0) headers.set("x-envoy-expected-rq-timeout-ms", String(expectedMs));
  }

  /** The try has made progress. */
  #touchTry(): void {
    const timeoutMs = this.#plan?.retry?.perTryIdleTimeoutMs ?? 0;
    if (timeoutMs <= 0) return;
    this.#perTryIdleTimeout ??= new Deadline(this);
    this.context.deadlines.arm(this.#perTryIdleTimeout, timeoutMs);
  }

  #armPerTryTimeout(): void {
    const timeoutMs = this.#plan?.retry?.perTryTimeoutMs ?? 0;
    if (timeoutMs <= 0 || this.#phase !== "trying") return;
    this.#perTryTimeout ??= new Deadline(this);
    this.context.deadlines.arm(this.#perTryTimeout, timeoutMs);
  }

  /** The request took too long to come, or all of the exchange to end. */
  #expire(isRequestTimeout: boolean): void {
    const { manager, context, isRequestComplete } = this;
    const stat = isRequestTimeout ? "downstream_rq_timeout" : "downstream_rq_max_duration_reached";
    context.telemetry.counter(`http.${manager.statPrefix}.${stat}`).add(1);
    if (this.#phase === "responding") {
      this.#breakLate("", isRequestTimeout ? "request_overall_timeout" : "max_duration_timeout");
      return;
    }
    // Not the upstream's doing: its cluster counts no answer.
    this.#dropUpstream(undefined);
    if (isRequestTimeout) this.fail({ kind: "requestOverallTimeout" });
    else this.fail({ kind: "streamDurationTimeout", isRequestComplete });
  }

  #disarmTimeouts(): void {
    if (this.#perTryIdleTimeout !== undefined) {
      this.context.deadlines.disarm(this.#perTryIdleTimeout);
    }
    if (this.#streamTimeout !== undefined) this.context.deadlines.disarm(this.#streamTimeout);
    if (this.#requestTimeout !== undefined) this.context.deadlines.disarm(this.#requestTimeout);
    if (this.#responseTimeout !== undefined) this.context.deadlines.disarm(this.#responseTimeout);
    if (this.#perTryTimeout !== undefined) this.context.deadlines.disarm(this.#perTryTimeout);
  }

  onDeadline(deadline: Deadline): void {
    if (this.isFinished) return;
    const plan = this.#plan;
    if (deadline === this.#requestTimeout || deadline === this.#streamTimeout) {
      this.#expire(deadline === this.#requestTimeout);
      return;
    }
    if (plan === undefined) return;
    if (this.#phase === "responding" && deadline === this.#responseTimeout) {
      plan.cluster.stats.requestTimeout.add(1);
      this.#breakLate("UT", "response_timeout");
      return;
    }
    if (this.#phase !== "trying" && this.#phase !== "backingOff") return;
    this.#recordOutcome({ status: 504, origin: "local" });
    if (deadline === this.#responseTimeout) {
      plan.cluster.stats.requestTimeout.add(1);
      this.fail({ kind: "responseTimeout" });
      return;
    }
    const isIdle = deadline === this.#perTryIdleTimeout;
    const { stats } = plan.cluster;
    (isIdle ? stats.perTryIdleTimeout : stats.perTryTimeout).add(1);
    this.trace?.tryTimedOut(isIdle ? "SI" : "UT");
    const policy = plan.retry;
    if (policy !== undefined && retriesReset(policy, "per try timeout", true) && this.#mayRetry()) {
      this.#abandonAttempt(undefined);
      this.#retryLater();
      return;
    }
    this.fail({ kind: isIdle ? "perTryIdleTimeout" : "perTryTimeout" });
  }

  // ── bookkeeping ──────────────────────────────────────────────────────────

  #recordOutcome(outcome: AttemptOutcome): void {
    if (this.#host !== undefined) this.#plan?.cluster.recordOutcome(this.#host, outcome);
  }

  #dropUpstream(status: number | undefined): void {
    this.#disarmTimeouts();
    this.#cancelBackoff?.();
    this.#cancelBackoff = undefined;
    this.#abandonAttempt(status);
  }

  #abandonAttempt(status: number | undefined): void {
    const upstream = this.#upstream;
    this.#upstream = undefined;
    if (upstream !== undefined) upstream.abandon();
    else this.#host?.cancel(this);
    this.#endAttempt(status);
  }

  /** Takes back what the attempt holds; `status` as Envoy counts it, undefined = the client left. */
  #endAttempt(status: number | undefined): void {
    const host = this.#host;
    const plan = this.#plan;
    if (host === undefined || plan === undefined) return;
    if (this.#perTryTimeout !== undefined) this.context.deadlines.disarm(this.#perTryTimeout);
    if (this.#perTryIdleTimeout !== undefined) {
      this.context.deadlines.disarm(this.#perTryIdleTimeout);
    }
    this.#host = undefined;
    host.activeRequests -= 1;
    this.onReleased();
    this.trace?.tryEnded(this);
    if (status !== undefined) plan.cluster.countStatus(status);
  }

  #mirror(plan: ForwardPlan): void {
    if (!this.#canReplay) return;
    const body = this.#body ?? [];
    for (const policy of plan.mirrors) {
      sendMirror(this, policy, body, this.#trailers, plan.timeoutMs);
    }
  }

  #addFlag(flag: string): void {
    if (this.responseFlags === "") this.responseFlags = flag;
    else if (!this.responseFlags.split(",").includes(flag)) this.responseFlags += `,${flag}`;
  }

  #finish(): void {
    if (this.#phase === "finished") return;
    this.#phase = "finished";
    this.#disarmTimeouts();
    this.#releaseRetry();
    this.#cancelLog?.();
    this.#body = undefined;
    this.#durationMs = performance.now() - this.startTimeMs;
    if (this.trace !== undefined) {
      if (this.responseCode !== 0) this.trace.mark("last_downstream_tx_byte_sent");
      this.trace.finish(this);
    }
    this.context.telemetry.requestFinished(this, this.manager.accessLogs);
    this.downstream.exchangeFinished(this);
  }
}

let lastConnectionId = 0;
const connectionIds = new WeakMap<DownstreamConnection, number>();

/** Numbers are given out when they are asked for: connections that no log names need none. */
function connectionIdOf(connection: DownstreamConnection): number {
  let id = connectionIds.get(connection);
  if (id === undefined) {
    lastConnectionId += 1;
    id = lastConnectionId;
    connectionIds.set(connection, id);
  }
  return id;
}

/** Whether a response turns the connection into a tunnel; any other is an answer like all. */
function opensTunnel(tunnel: Tunnel | undefined, status: number): boolean {
  if (tunnel === undefined) return false;
  return tunnel.kind === "upgrade" ? status === 101 : status >= 200 && status < 300;
}
