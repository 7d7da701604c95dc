import { type ClientHttp2Session, type ClientHttp2Stream, connect } from "node:http2";
import {
  CLUSTER_TYPE,
  ENDPOINT_TYPE,
  encode,
  LISTENER_TYPE,
  ROUTE_TYPE,
  structFromJson,
} from "../../src/xds/index.ts";
import { type DeltaResource, parseDelta } from "./delta-wire.ts";

const PATH = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
const WINDOW_BYTES = 8 * 1_048_576;
const RETRY_MS = 50;
const TYPES = [CLUSTER_TYPE, ENDPOINT_TYPE, LISTENER_TYPE, ROUTE_TYPE];

export interface LightClientOptions {
  readonly port: number;
  readonly name: string;
  readonly namespace: string;
  readonly ip: string;
  /** Every response, before it is acknowledged. */
  readonly onResources: (typeUrl: string, resources: readonly DeltaResource[]) => void;
  /** Once it has something of every type. */
  readonly onComplete: () => void;
}

/**
 * As much of a proxy as a control plane notices: a connection of its own, a delta stream, the
 * subscriptions that follow from what it is sent, and acknowledgements. It reads no resource.
 */
export class LightClient {
  readonly #options: LightClientOptions;
  #session: ClientHttp2Session | undefined;
  #stream: ClientHttp2Stream | undefined;
  #chunks: Buffer[] = [];
  #size = 0;
  #asked = new Set<string>();
  #has = new Set<string>();
  #isStopped = false;

  constructor(options: LightClientOptions) {
    this.#options = options;
    this.#connect();
  }

  stop(): void {
    this.#isStopped = true;
    this.#session?.destroy();
  }

  #connect(): void {
    if (this.#isStopped) return;
    this.#asked = new Set();
    this.#has = new Set();
    this.#chunks = [];
    this.#size = 0;
    const session = connect(`http://127.0.0.1:${this.#options.port}`, {
      settings: { initialWindowSize: WINDOW_BYTES, enablePush: false },
    });
    this.#session = session;
    session.on("error", () => {});
    session.on("close", () => {
      setTimeout(() => this.#connect(), RETRY_MS * (1 + Math.random()));
    });
    session.on("connect", () => {
      session.setLocalWindowSize(WINDOW_BYTES);
      const stream = session.request({
        ":method": "POST",
        ":path": PATH,
        "content-type": "application/grpc",
        te: "trailers",
      });
      this.#stream = stream;
      stream.on("error", () => {});
      stream.on("close", () => session.destroy());
      stream.on("data", (chunk: Buffer) => this.#receive(chunk));
      const { name, namespace, ip } = this.#options;
      const node = {
        id: `sidecar~${ip}~${name}.${namespace}~${namespace}.svc.cluster.local`,
        metadata: structFromJson({
          NAME: name,
          NAMESPACE: namespace,
          INTERCEPTION_MODE: "NONE",
          HTTP_PROXY_PORT: "15001",
        }),
      };
      this.#send({ type_url: CLUSTER_TYPE, node });
      this.#send({ type_url: LISTENER_TYPE });
    });
  }

  #receive(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#size += chunk.length;
    while (this.#size >= 5) {
      const [first] = this.#chunks;
      if (first === undefined) return;
      const head = first.length >= 5 ? first : this.#joined();
      const length = head.readUInt32BE(1);
      if (this.#size < 5 + length) return;
      const all = this.#joined();
      const rest = all.subarray(5 + length);
      this.#chunks = rest.length > 0 ? [rest] : [];
      this.#size = rest.length;
      this.#handle(all.subarray(5, 5 + length));
    }
  }

  #joined(): Buffer {
    const [first] = this.#chunks;
    if (this.#chunks.length === 1 && first !== undefined) return first;
    const all = Buffer.concat(this.#chunks);
    this.#chunks = [all];
    return all;
  }

  #handle(message: Buffer): void {
    const { typeUrl, nonce, resources } = parseDelta(message);
    this.#options.onResources(typeUrl, resources);
    this.#send({ type_url: typeUrl, response_nonce: nonce });
    if (typeUrl === CLUSTER_TYPE) {
      const names = resources
        .map(({ name }) => name)
        .filter((name) => name.startsWith("outbound|") && !this.#asked.has(name));
      for (const name of names) this.#asked.add(name);
      if (names.length > 0)
        this.#send({ type_url: ENDPOINT_TYPE, resource_names_subscribe: names });
    }
    if (typeUrl === LISTENER_TYPE && !this.#asked.has("http_proxy")) {
      this.#asked.add("http_proxy");
      this.#send({ type_url: ROUTE_TYPE, resource_names_subscribe: ["http_proxy"] });
    }
    if (this.#has.size === TYPES.length) return;
    this.#has.add(typeUrl);
    if (this.#has.size === TYPES.length) this.#options.onComplete();
  }

  #send(request: Parameters<typeof encode<"envoy.service.discovery.v3.DeltaDiscoveryRequest">>[1]) {
    const body = encode("envoy.service.discovery.v3.DeltaDiscoveryRequest", request);
    const frame = Buffer.alloc(5 + body.length);
    frame.writeUInt32BE(body.length, 1);
    frame.set(body, 5);
    this.#stream?.write(frame);
  }
}
