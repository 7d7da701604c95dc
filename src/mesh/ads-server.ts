import { type ServerDuplexStream, status } from "@grpc/grpc-js";
import { messageOf } from "../base/index.ts";
import type { Clock, Logger } from "../runtime/index.ts";
import { SECRET_TYPE } from "../xds/index.ts";
import { decodeRequest, encodeResponse } from "./ads-messages.ts";
import { type ProxyNode, parseProxyNode } from "./core/proxy-node.ts";
import { Session, type SessionRequest, type SessionResponse } from "./core/session.ts";
import { checkConsistent, type MissingReference } from "./core/snapshot.ts";
import { isCredential } from "./core/translate/credentials.ts";
import type { ResourceSet, XdsResource } from "./core/xds-resource.ts";
import type { GrpcMethod } from "./grpc-server.ts";
import type { Authenticator, SecretSource, WorkloadIdentity } from "./identity.ts";
import { createPushPacer, type PushPacer } from "./push-pacer.ts";

const SERVICE = "/envoy.service.discovery.v3.AggregatedDiscoveryService";

/** One state of the mesh, to be brought to every proxy. */
export interface Push {
  /** Ascending, from 1. */
  readonly number: number;
  resourcesFor(node: ProxyNode): ResourceSet;
}

/** A proxy with an open ADS stream. */
export interface Connection {
  /** Of the stream: `1`, `2`, … */
  readonly id: string;
  readonly node: ProxyNode;
  readonly protocol: "sotw" | "delta";
  readonly identity: WorkloadIdentity | undefined;
  readonly session: Session;
  /** What the newest push lacks; not empty while the one before is kept because of it. */
  readonly problems: readonly MissingReference[];
  /** What the client was last meant to have. */
  readonly resources: ResourceSet | undefined;
}

/** Something worth counting or telling. */
export type AdsEvent =
  | { readonly kind: "connected" | "disconnected" | "progress"; readonly connection: Connection }
  | {
      /** Its turn has come to be brought a push. */
      readonly kind: "dequeued";
      readonly connection: Connection;
      readonly push: number;
    }
  | {
      /** What it is to have could not be made: it keeps what it has. */
      readonly kind: "failed";
      readonly connection: Connection;
    }
  | {
      readonly kind: "sent";
      readonly connection: Connection;
      readonly response: SessionResponse;
    }
  | {
      readonly kind: "rejected";
      readonly connection: Connection;
      readonly typeUrl: string;
      readonly message: string;
    };

export interface AdsOptions {
  readonly logger: Logger;
  readonly clock: Clock;
  /** Without one, nobody is authenticated and no secrets are handed out. */
  readonly authenticator?: Authenticator | undefined;
  readonly secrets?: SecretSource | undefined;
  readonly onEvent: (event: AdsEvent) => void;
}

/** The aggregated discovery service: a session per stream, pushes to all of them. */
export interface Ads {
  readonly methods: readonly GrpcMethod[];
  /** Brings a new state to every connected proxy, and to those that connect from now on. */
  publish(push: Push): void;
  connections(): readonly Connection[];
  /** Ends every stream. */
  stop(): void;
}

type Stream = ServerDuplexStream<Buffer, Buffer>;

/** Creates the service; `methods` go to a gRPC server. */
export function createAds(options: AdsOptions): Ads {
  const open = new Set<AdsStream>();
  let push: Push | undefined;
  let count = 0;
  const pacer = createPushPacer<AdsStream>({
    clock: options.clock,
    work: (stream) => stream.work(),
  });
  const shared: Shared = {
    options,
    pacer,
    push: () => push,
    joined: (stream) => open.add(stream),
    left: (stream) => {
      open.delete(stream);
      pacer.forget(stream);
    },
  };
  const handle =
    (protocol: "sotw" | "delta") =>
    (stream: Stream): void => {
      count += 1;
      new AdsStream(stream, protocol, String(count), shared).start();
    };
  const endWatch = options.secrets?.onChange((identity) => {
    for (const each of open) each.secretsChanged(identity);
  });
  return {
    methods: [
      { path: `${SERVICE}/DeltaAggregatedResources`, kind: "bidi", handle: handle("delta") },
      { path: `${SERVICE}/StreamAggregatedResources`, kind: "bidi", handle: handle("sotw") },
    ],
    publish(next) {
      push = next;
      const others: AdsStream[] = [];
      // Those that the change is for come first.
      for (const each of open) {
        if (each.translate(next)) pacer.run(each);
        else others.push(each);
      }
      for (const each of others) pacer.run(each);
    },
    connections: () => [...open].flatMap((each) => (each.connection ? [each.connection] : [])),
    stop() {
      endWatch?.();
      for (const each of open) each.end();
    },
  };
}

interface Shared {
  readonly options: AdsOptions;
  readonly pacer: PushPacer<AdsStream>;
  push(): Push | undefined;
  joined(stream: AdsStream): void;
  left(stream: AdsStream): void;
}

interface MutableConnection extends Connection {
  problems: readonly MissingReference[];
  resources: ResourceSet | undefined;
}

class AdsStream {
  readonly #stream: Stream;
  readonly #protocol: "sotw" | "delta";
  readonly #id: string;
  readonly #shared: Shared;
  readonly #secrets = new Map<string, XdsResource | undefined>();
  /** Requests that arrive while the token is being checked, or others have their turn. */
  readonly #waiting: SessionRequest[] = [];
  /** undefined until the first request is accepted. */
  connection: MutableConnection | undefined;
  /** What was last found consistent, or not. */
  #checked: ResourceSet | undefined;
  /** What the next turn brings to the client. */
  #ready: { readonly resources: ResourceSet; readonly push: number } | undefined;
  #isOpening = false;
  #isClosed = false;

  constructor(stream: Stream, protocol: "sotw" | "delta", id: string, shared: Shared) {
    this.#stream = stream;
    this.#protocol = protocol;
    this.#id = id;
    this.#shared = shared;
  }

  start(): void {
    const stream = this.#stream;
    this.#shared.joined(this);
    stream.on("data", (bytes: Buffer) => this.#receive(bytes));
    stream.on("error", () => this.#close());
    stream.on("cancelled", () => this.#close());
    stream.on("close", () => this.#close());
    stream.on("end", () => {
      this.#close();
      stream.end();
    });
  }

  end(): void {
    this.#close();
    this.#stream.end();
  }

  /** Finds out what the client is to have; whether that is something else than before. */
  translate(push: Push): boolean {
    const { connection } = this;
    if (connection === undefined) return false;
    const { logger } = this.#shared.options;
    let resources: ResourceSet;
    try {
      resources = push.resourcesFor(connection.node);
    } catch (error) {
      // The proxy keeps what it has; others must not suffer.
      logger.error({ proxy: connection.node.id, reason: messageOf(error) }, "translation failed");
      this.#shared.options.onEvent({ kind: "failed", connection });
      return false;
    }
    if (resources === this.#checked) {
      if (connection.problems.length === 0) this.#ready = { resources, push: push.number };
      return false;
    }
    connection.problems = checkConsistent(resources);
    this.#checked = resources;
    if (connection.problems.length > 0) {
      const problems = connection.problems.map((problem) => problem.message);
      logger.error({ proxy: connection.node.id, problems }, "inconsistent push is held back");
      return false;
    }
    this.#ready = { resources, push: push.number };
    return true;
  }

  /** Its turn to be written to: the newest state, and answers to what it asked meanwhile. */
  work(): void {
    const { connection } = this;
    if (connection === undefined || this.#isClosed) return;
    const ready = this.#ready;
    this.#ready = undefined;
    if (ready !== undefined) {
      const { resources, push } = ready;
      this.#shared.options.onEvent({ kind: "dequeued", connection, push });
      const isSame = resources === connection.resources;
      connection.resources = resources;
      if (!isSame) this.#refreshCredentials(connection);
      this.#send(connection, connection.session.update(resources, push));
      this.#shared.options.onEvent({ kind: "progress", connection });
    }
    for (const request of this.#waiting.splice(0)) this.#handle(connection, request);
  }

  secretsChanged(identity: WorkloadIdentity): void {
    const own = this.connection?.identity;
    if (own?.namespace !== identity.namespace || own.serviceAccount !== identity.serviceAccount) {
      return;
    }
    this.#fetchSecrets([...this.#secrets.keys()]);
  }

  #receive(bytes: Buffer): void {
    if (this.#isClosed) return;
    let decoded: ReturnType<typeof decodeRequest>;
    try {
      decoded = decodeRequest(this.#protocol, bytes);
    } catch (error) {
      this.#fail(status.INVALID_ARGUMENT, `the request does not decode: ${messageOf(error)}`);
      return;
    }
    const { node, request } = decoded;
    if (this.connection === undefined && !this.#isOpening) {
      let parsed: ProxyNode;
      try {
        parsed = parseProxyNode(node ?? {});
      } catch (error) {
        this.#fail(status.INVALID_ARGUMENT, messageOf(error));
        return;
      }
      this.#isOpening = true;
      void this.#open(parsed);
    }
    if (request === undefined) return;
    this.#waiting.push(request);
    if (this.connection !== undefined) this.#shared.pacer.run(this);
  }

  async #open(node: ProxyNode): Promise<void> {
    let identity: WorkloadIdentity | undefined;
    try {
      identity = await this.#authenticate();
    } catch (error) {
      this.#fail(status.UNAVAILABLE, `the token cannot be checked: ${messageOf(error)}`);
      return;
    }
    if (this.#isClosed) return;
    const { onEvent, logger } = this.#shared.options;
    if (identity !== undefined && !isOwner(identity, node)) {
      const { namespace, podName } = identity;
      logger.warn(
        { proxy: node.id, namespace, podName },
        "the token is not of the workload that the node names: it gets no secrets",
      );
      identity = undefined;
    }
    const connection: MutableConnection = {
      id: this.#id,
      node,
      protocol: this.#protocol,
      identity,
      session: new Session({ protocol: this.#protocol, noncePrefix: `${this.#id}.` }),
      problems: [],
      resources: undefined,
    };
    this.connection = connection;
    logger.info({ proxy: node.id, protocol: this.#protocol }, "proxy connected");
    onEvent({ kind: "connected", connection });
    const push = this.#shared.push();
    if (push !== undefined) this.translate(push);
    this.#shared.pacer.run(this);
  }

  /** undefined when no token came along, or nobody can check it. A bad one ends the stream. */
  async #authenticate(): Promise<WorkloadIdentity | undefined> {
    const { authenticator } = this.#shared.options;
    const header = String(this.#stream.metadata.get("authorization")[0] ?? "");
    if (authenticator === undefined || header === "") return undefined;
    const token = /^Bearer +(\S+)$/i.exec(header)?.[1];
    const identity = token === undefined ? undefined : await authenticator.authenticate(token);
    if (identity === undefined) this.#fail(status.UNAUTHENTICATED, "the token is not valid");
    return identity;
  }

  #handle(connection: MutableConnection, request: SessionRequest): void {
    const { onEvent, logger } = this.#shared.options;
    const { typeUrl, error } = request;
    if (error !== undefined) {
      logger.warn({ proxy: connection.node.id, typeUrl, error }, "proxy refused a push");
      onEvent({ kind: "rejected", connection, typeUrl, message: error });
    }
    this.#send(connection, connection.session.receive(request));
    if (typeUrl === SECRET_TYPE) this.#wantSecrets(connection);
    onEvent({ kind: "progress", connection });
  }

  #wantSecrets(connection: MutableConnection): void {
    const wanted = connection.session.wantedSecrets();
    const fresh = [...wanted].filter((name) => !this.#secrets.has(name));
    for (const name of this.#secrets.keys()) if (!wanted.has(name)) this.#secrets.delete(name);
    if (fresh.length === 0) return;
    if (connection.identity === undefined) {
      const { logger } = this.#shared.options;
      logger.warn(
        { proxy: connection.node.id, secrets: fresh },
        "no secrets without a valid token of the workload",
      );
      return;
    }
    this.#fetchSecrets(fresh);
  }

  #fetchSecrets(names: readonly string[]): void {
    const { secrets, logger } = this.#shared.options;
    const { connection } = this;
    const identity = connection?.identity;
    if (secrets === undefined || connection === undefined || identity === undefined) return;
    for (const name of names) {
      if (isCredential(name)) {
        // They are part of what the mesh's model translates to, for this proxy and its namespace.
        this.#secrets.set(name, connection.resources?.get(SECRET_TYPE)?.get(name));
        this.#send(connection, connection.session.setSecrets(new Map(this.#secrets)));
        continue;
      }
      secrets.secretFor(identity, name).then(
        (secret) => {
          if (this.#isClosed || !connection.session.wantedSecrets().has(name)) return;
          this.#secrets.set(name, secret);
          this.#send(connection, connection.session.setSecrets(new Map(this.#secrets)));
        },
        (error: unknown) =>
          logger.error(
            { proxy: connection.node.id, secret: name, reason: messageOf(error) },
            "secret not issued",
          ),
      );
    }
  }

  /** A credential that changed reaches whoever asked for it. */
  #refreshCredentials(connection: MutableConnection): void {
    const changed = [...this.#secrets].filter(
      ([name, held]) =>
        isCredential(name) && connection.resources?.get(SECRET_TYPE)?.get(name) !== held,
    );
    if (changed.length > 0) this.#fetchSecrets(changed.map(([name]) => name));
  }

  #send(connection: Connection, responses: readonly SessionResponse[]): void {
    for (const response of responses) {
      if (this.#isClosed) return;
      const bytes = encodeResponse(this.#protocol, response);
      this.#stream.write(bytes, this.#shared.pacer.wrote(bytes.length));
      this.#shared.options.onEvent({ kind: "sent", connection, response });
    }
  }

  #fail(code: status, details: string): void {
    this.#shared.options.logger.warn({ details }, "xds stream refused");
    this.#close();
    this.#stream.emit("error", { code, details });
  }

  #close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#shared.left(this);
    const { connection } = this;
    if (connection === undefined) return;
    const { logger, onEvent } = this.#shared.options;
    logger.info({ proxy: connection.node.id }, "proxy disconnected");
    onEvent({ kind: "disconnected", connection });
  }
}

/** Whether a token's identity is the workload's that the node id names. */
function isOwner(identity: WorkloadIdentity, node: ProxyNode): boolean {
  return (
    identity.namespace === node.namespace &&
    (identity.podName === undefined || identity.podName === node.name)
  );
}
