import { createServer, type Server, type Socket } from "node:net";
import { SerinError } from "../../base/index.ts";
import type {
  FilterChainConfig,
  HttpConnectionManagerConfig,
  ListenerConfig,
  ListenerInspection,
  RequestTelemetry,
  TlsConfig,
} from "../config/runtime-config.ts";
import type { ProxyContext } from "../context.ts";
import { tcpProtocols } from "../core/peer-exchange.ts";
import type { OverloadGuard } from "../overload-guard.ts";
import { proxyTcp } from "../tcp/tcp-proxy.ts";
import { mayConnect } from "./authorization.ts";
import { type Inspection, inspectFirstBytes } from "./client-hello.ts";
import { mayStay } from "./concurrent-limit.ts";
import type { ConnectionInfo } from "./connection-info.ts";
import { mayOpen } from "./connection-limit.ts";
import { type ConnectionLog, logConnection } from "./connection-log.ts";
import { type ConnectionFacts, matchFilterChain } from "./filter-chain.ts";
import { type HttpConnection, serveHttp } from "./http-connection.ts";
import { type Destination, originalDestination } from "./original-destination.ts";

/** Where the configuration does not say. */
const DEFAULT_INSPECTION: ListenerInspection = { timeoutMs: 15_000, continuesOnTimeout: false };
const HTTP1_PROTOCOLS: readonly string[] = ["http/1.1", "http/1.0"];

/** As long as a backlog: what comes on top while none are let in is closed. */
const MAX_HELD = 4096;

type ListenerOf = (destination: Destination) => Listener | undefined;
type Counter = ReturnType<RequestTelemetry["counter"]>;

/** One listening socket: accepts, inspects, chooses a filter chain, ends TLS, starts the protocol. */
export class Listener {
  readonly #context: ProxyContext;
  #config: ListenerConfig;
  #server: Server | undefined;
  /** Every accepted socket, with what runs on it. */
  readonly #sockets = new Map<Socket, HttpConnection | undefined>();
  /** Where redirected connections were going. */
  readonly #destinations = new WeakMap<Socket, Destination>();
  /** Of listeners that have access logs of their own. */
  readonly #logs = new WeakMap<Socket, ConnectionLog>();
  /** The chain each HTTP connection was accepted under. */
  readonly #chains = new Map<HttpConnection, FilterChainConfig>();
  readonly #accepted: Counter;
  readonly #acceptedHere: Counter;
  readonly #active: Counter;
  readonly #noChain: Counter;
  readonly #tlsErrors: Counter;
  readonly #overloadReject: Counter;
  readonly #globalOverflow: Counter;
  /** Connections that nobody reads while the overload manager lets none in. */
  readonly #held = new Set<Socket>();
  #isDraining = false;
  readonly #listenerOf: ListenerOf;

  /** `listenerOf` finds the listener that takes connections handed off. */
  constructor(context: ProxyContext, config: ListenerConfig, listenerOf: ListenerOf) {
    this.#context = context;
    this.#listenerOf = listenerOf;
    this.#config = config;
    const { telemetry } = context;
    const stat = `listener.${config.address}_${config.port}`;
    this.#accepted = telemetry.counter(`${stat}.downstream_cx_total`);
    this.#acceptedHere = telemetry.counter(
      `${stat}.worker_${context.workerId}.downstream_cx_total`,
    );
    this.#active = telemetry.gauge(`${stat}.downstream_cx_active`);
    this.#noChain = telemetry.counter(`${stat}.no_filter_chain_match`);
    this.#overloadReject = telemetry.counter(`${stat}.downstream_cx_overload_reject`);
    this.#globalOverflow = telemetry.counter(`${stat}.downstream_global_cx_overflow`);
    this.#tlsErrors = telemetry.counter(`${stat}.ssl.connection_error`);
  }

  get config(): ListenerConfig {
    return this.#config;
  }

  get connectionCount(): number {
    return this.#sockets.size;
  }

  /** Where it listens: the port is the real one when 0 was asked for. */
  get port(): number {
    const address = this.#server?.address();
    return typeof address === "object" && address !== null ? address.port : this.#config.port;
  }

  /** Starts listening. Throws SERIN_PORT_IN_USE or SERIN_PERMISSION. */
  async open(): Promise<void> {
    checkMaterial(this.#context, this.#config);
    if (!this.#config.bindToPort) return;
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) =>
      this.#restore(socket),
    );
    await new Promise<void>((resolve, reject) => {
      server.once("error", (error: NodeJS.ErrnoException) =>
        reject(listenError(this.#config, error)),
      );
      server.listen(
        {
          host: this.#config.address,
          port: this.#config.port,
          backlog: 4096,
          reusePort: this.#context.sharesPorts,
          // As Envoy without ipv4_compat: IPv4 may have a listener of its own on the same port.
          ipv6Only: this.#config.address.includes(":"),
        },
        resolve,
      );
    });
    server.on("error", (error) =>
      this.#context.logger.warn({ err: error, listener: this.#config.name }, "listener failed"),
    );
    this.#server = server;
  }

  /**
   * Takes a new configuration for the same address: new connections follow it at once; connections of
   * a chain that changed are asked to leave with their next answer. Throws when TLS material is bad.
   */
  update(config: ListenerConfig): void {
    if (config === this.#config) return;
    checkMaterial(this.#context, config);
    this.#config = config;
    const kept = new Set<FilterChainConfig | undefined>([...config.chains, config.defaultChain]);
    for (const [connection, chain] of this.#chains) {
      if (!kept.has(chain)) connection.drain(false);
    }
  }

  /** Stops accepting; idle connections close, busy ones after their answer. */
  drain(): void {
    this.#isDraining = true;
    this.#server?.close();
    this.#server = undefined;
    for (const socket of this.#held) socket.destroy();
    for (const connection of this.#sockets.values()) connection?.drain(true);
  }

  checkIdle(nowMs: number): void {
    this.#takeHeld();
    for (const connection of this.#sockets.values()) connection?.checkIdle(nowMs);
  }

  /** Closes everything now. */
  destroy(): void {
    this.drain();
    for (const socket of this.#sockets.keys()) socket.destroy();
  }

  /** Finds out where a redirected connection was going, and who takes it then. */
  #restore(socket: Socket): void {
    const { originalDst } = this.#config;
    const destination = originalDst === undefined ? undefined : originalDestination(socket);
    const other =
      originalDst === "handOff" && destination !== undefined
        ? this.#listenerOf(destination)
        : undefined;
    (other ?? this).take(socket, destination);
  }

  /** Serves a connection, accepted here or handed off by another listener. */
  take(socket: Socket, destination: Destination | undefined): void {
    if (destination !== undefined) this.#destinations.set(socket, destination);
    this.#accept(socket);
  }

  /** Takes up what was held while no connections were accepted. */
  #takeHeld(): void {
    if (this.#held.size === 0 || !this.#acceptsNow()) return;
    const held = [...this.#held];
    this.#held.clear();
    for (const socket of held) if (!socket.destroyed) this.#accept(socket);
  }

  #acceptsNow(): boolean {
    return (this.#context.overload?.state.stopAcceptingConnections ?? 0) < 1;
  }

  /** What the overload manager says to a new connection. */
  #mayAccept(socket: Socket, overload: OverloadGuard): boolean {
    // A client whose connection goes wrong meanwhile concerns nobody else.
    socket.on("error", () => socket.destroy());
    if (!this.#acceptsNow() && this.#held.size < MAX_HELD) {
      // As with Envoy the client is connected and waits; it is not read.
      this.#held.add(socket);
      socket.once("close", () => this.#held.delete(socket));
      return false;
    }
    const { rejectConnections: level } = overload.state;
    const isRejected = level > 0 && (level === 1 || this.#context.random() < level);
    if (!isRejected && this.#acceptsNow() && overload.takeConnection()) {
      socket.once("close", () => overload.releaseConnection());
      return true;
    }
    (isRejected || !this.#acceptsNow() ? this.#overloadReject : this.#globalOverflow).add(1);
    socket.destroy();
    return false;
  }

  #accept(socket: Socket): void {
    const { overload } = this.#context;
    if (overload !== undefined && !this.#mayAccept(socket, overload)) return;
    const log = logConnection(this.#context, this.#config, socket, this.#destinations.get(socket));
    if (log !== undefined) this.#logs.set(socket, log);
    this.#accepted.add(1);
    this.#acceptedHere.add(1);
    this.#active.add(1);
    this.#sockets.set(socket, undefined);
    socket.once("close", () => {
      this.#sockets.delete(socket);
      this.#active.add(-1);
    });
    // Until a protocol takes over; a reset here concerns nobody else.
    socket.on("error", () => socket.destroy());
    const { inspectTls, isUninspected } = this.#config;
    const chains = this.#chainsFor(socket);
    if (isUninspected?.(this.#portOf(socket)) === true) {
      this.#start(socket, PLAIN);
      return;
    }
    // What a client offers must be known before TLS begins: without a common protocol Node would
    // refuse it, where Envoy goes on without one.
    const needsSniffing = chains.some(
      ({ match, tls }) =>
        match.applicationProtocols.length > 0 || (tls?.alpnProtocols.length ?? 0) > 0,
    );
    if (inspectTls || needsSniffing) {
      this.#inspect(socket, chains);
      return;
    }
    this.#start(socket, PLAIN);
  }

  #portOf(socket: Socket): number {
    return this.#destinations.get(socket)?.port ?? socket.localPort ?? this.#config.port;
  }

  /** The port decides before all else, and it is known. */
  #chainsFor(socket: Socket): readonly FilterChainConfig[] {
    const { chains } = this.#config;
    if (chains.every(({ match }) => match.destinationPort === undefined)) return chains;
    const port = this.#portOf(socket);
    const own = chains.filter(({ match }) => match.destinationPort === port);
    return own.length > 0 ? own : chains.filter((each) => each.match.destinationPort === undefined);
  }

  /** Looks at the first bytes and puts them back. */
  #inspect(socket: Socket, chains: readonly FilterChainConfig[]): void {
    let bytes: Buffer = Buffer.alloc(0);
    const tellsHttp = chains.some(({ match }) =>
      match.applicationProtocols.some((name) => name.startsWith("http/") || name === "h2c"),
    );
    const { timeoutMs, continuesOnTimeout } = this.#config.inspection ?? DEFAULT_INSPECTION;
    const onTimeout = (): void => {
      // Without leave a client that says nothing is given no chain.
      if (continuesOnTimeout) goOn(PLAIN);
      else socket.destroy();
    };
    const cancel =
      timeoutMs > 0 ? this.#context.clock.schedule(timeoutMs, onTimeout) : () => undefined;
    socket.once("close", cancel);
    const onReadable = (): void => {
      const more: Buffer | null = socket.read();
      if (more === null) return;
      bytes = bytes.length === 0 ? more : Buffer.concat([bytes, more]);
      const inspection = inspectFirstBytes(bytes);
      if (inspection.kind === "plain" && tellsHttp && mayBecomeHttp(bytes)) return;
      if (inspection.kind !== "incomplete") goOn(this.#facts(inspection, bytes));
    };
    const goOn = (facts: Omit<ConnectionFacts, "destinationPort">): void => {
      cancel();
      socket.off("close", cancel);
      socket.off("readable", onReadable);
      socket.off("end", onEnd);
      // Only now: putting bytes back makes the socket readable again at once.
      if (bytes.length > 0) socket.unshift(bytes);
      this.#start(socket, facts);
    };
    // A client that leaves before it said anything.
    const onEnd = (): void => {
      socket.destroy();
    };
    socket.on("readable", onReadable);
    socket.once("end", onEnd);
  }

  #facts(inspection: Inspection, bytes: Buffer): Omit<ConnectionFacts, "destinationPort"> {
    if (inspection.kind !== "tls") return { ...PLAIN, applicationProtocols: sniffHttp(bytes) };
    return {
      transportProtocol: "tls",
      serverName: inspection.serverName,
      applicationProtocols: inspection.applicationProtocols,
    };
  }

  #start(socket: Socket, found: Omit<ConnectionFacts, "destinationPort">): void {
    const destination = this.#destinations.get(socket);
    const facts: ConnectionFacts = {
      ...found,
      destinationPort: this.#portOf(socket),
      destinationAddress: destination?.address ?? socket.localAddress ?? "",
      sourceAddress: socket.remoteAddress ?? "",
      sourcePort: socket.remotePort ?? 0,
    };
    const chain = matchFilterChain(this.#config, facts);
    const log = this.#logs.get(socket);
    log?.named(facts.serverName);
    if (chain === undefined) {
      log?.refusedByChains();
      this.#noChain.add(1);
      socket.destroy();
      return;
    }
    // Before TLS, which costs the most.
    if (!mayOpen(this.#context, chain)) {
      socket.destroy();
      return;
    }
    if (!mayStay(this.#context, chain, socket)) return;
    if (chain.tls === undefined) {
      this.#run(socket, socket, chain, {
        isTls: false,
        requestedServerName: facts.serverName,
        identity: undefined,
        ownUris: [],
        destination,
      });
      return;
    }
    this.#terminateTls(socket, chain, chain.tls, facts);
  }

  #terminateTls(
    socket: Socket,
    chain: FilterChainConfig,
    tls: TlsConfig,
    facts: ConnectionFacts,
  ): void {
    this.#context.tlsTermination.secure(socket, tls, this.#negotiable(tls, chain, facts), {
      onSecured: (secured) =>
        this.#run(socket, secured.socket, chain, {
          isTls: true,
          requestedServerName: facts.serverName,
          identity: secured.identity,
          tlsSession: secured.session,
          ownUris: secured.ownUris,
          destination: this.#destinations.get(socket),
        }),
      onRefused: () => {
        this.#tlsErrors.add(1);
        socket.destroy();
      },
    });
  }

  /** The protocols to negotiate with this client; none when it shares none, as Envoy then goes without. */
  #negotiable(tls: TlsConfig, chain: FilterChainConfig, facts: ConnectionFacts): readonly string[] {
    const configured = tls.alpnProtocols;
    let spoken = configured;
    if (chain.network.kind === "tcp") {
      spoken = tcpProtocols(configured, this.#context.config.peerMetadataHeaders !== undefined);
    } else if (chain.network.codec === "http1") {
      spoken = configured.filter((name) => name !== "h2" && name !== "istio-h2");
    }
    return spoken.some((name) => facts.applicationProtocols.includes(name)) ? spoken : [];
  }

  #run(raw: Socket, socket: Socket, chain: FilterChainConfig, info: ConnectionInfo): void {
    const { network } = chain;
    if (!mayConnect(this.#context, chain, socket, info)) {
      socket.destroy();
      return;
    }
    if (network.kind === "tcp") {
      proxyTcp(this.#context, network, socket, info);
      return;
    }
    const connection = this.#serveHttp(socket, network, info);
    this.#sockets.set(raw, connection);
    this.#logs.get(raw)?.served(connection);
    this.#chains.set(connection, chain);
    if (this.#isDraining) connection.drain(false);
  }

  #serveHttp(
    socket: Socket,
    manager: HttpConnectionManagerConfig,
    info: ConnectionInfo,
  ): HttpConnection {
    return serveHttp({
      context: this.#context,
      manager,
      socket,
      info,
      onGone: (connection) => this.#chains.delete(connection),
    });
  }
}

const PLAIN: Omit<ConnectionFacts, "destinationPort"> = {
  transportProtocol: "raw_buffer",
  serverName: "",
  applicationProtocols: [],
};

/** As Envoy's http_inspector: which HTTP the first bytes of plain text look like. */
function sniffHttp(bytes: Buffer): readonly string[] {
  const text = bytes.toString("latin1", 0, Math.min(bytes.length, 1024));
  if (text.startsWith("PRI * HTTP/2.0")) return ["h2c"];
  const version = /^[A-Z]+ \S+ HTTP\/(1\.[01])\r\n/.exec(text)?.[1];
  if (version !== undefined) return [`http/${version}`];
  // HTTP/0.9, which is refused, but as HTTP.
  if (/^GET \S+\r?\n/.test(text)) return ["http/1.0"];
  return /^[A-Z]{3,20} \S*$/.test(text) ? HTTP1_PROTOCOLS : [];
}

/** A request line so far, which says its version at the end: clients may send it in pieces. */
function mayBecomeHttp(bytes: Buffer): boolean {
  return bytes.length < 1024 && /^[A-Z]{1,20}( [^\r\n]*\r?)?$/.test(bytes.toString("latin1"));
}

/** Refuses a listener whose certificates OpenSSL would refuse at the first connection. */
function checkMaterial(context: ProxyContext, config: ListenerConfig): void {
  for (const chain of [...config.chains, config.defaultChain]) {
    if (chain?.tls === undefined) continue;
    try {
      context.secureContexts.get(chain.tls);
    } catch (error) {
      throw new SerinError(
        "SERIN_INVALID_XDS",
        `listener ${config.name}: filter chain ${JSON.stringify(chain.name)}: TLS material: ${error instanceof Error ? error.message : String(error)}`,
        { source: "remote", cause: error },
      );
    }
  }
}

function listenError(config: ListenerConfig, error: NodeJS.ErrnoException): SerinError {
  const where = `listener ${config.name}: ${config.address}:${config.port}`;
  switch (error.code) {
    case "EADDRINUSE":
      return new SerinError("SERIN_PORT_IN_USE", `${where}: port is in use`, { cause: error });
    case "EACCES":
      return new SerinError("SERIN_PERMISSION", `${where}: not permitted`, { cause: error });
    default:
      return new SerinError("SERIN_INVALID_XDS", `${where}: cannot listen: ${error.message}`, {
        cause: error,
      });
  }
}
