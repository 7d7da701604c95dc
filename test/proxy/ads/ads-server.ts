import { Server, ServerCredentials, type ServerDuplexStream } from "@grpc/grpc-js";
import {
  type Any,
  type envoy_service_discovery_v3_DeltaDiscoveryRequest as DeltaRequest,
  decode,
  encode,
  type envoy_service_discovery_v3_DiscoveryRequest as SotwRequest,
} from "../../../src/xds/index.ts";

type Stream = ServerDuplexStream<Uint8Array, Uint8Array>;

/** A real ADS server over gRPC that does what the test says, and remembers what it was asked. */
export interface AdsServer {
  readonly port: number;
  readonly deltaRequests: DeltaRequest[];
  readonly sotwRequests: SotwRequest[];
  readonly authorizations: string[];
  streams(): number;
  sendDelta(
    typeUrl: string,
    resources: Readonly<Record<string, { version: string; any: Any }>>,
    removed?: readonly string[],
  ): string;
  sendSotw(typeUrl: string, version: string, resources: readonly Any[]): string;
  stop(): void;
}

const PREFIX = "/envoy.service.discovery.v3.AggregatedDiscoveryService";
const asBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes);

export async function startAdsServer(port = 0): Promise<AdsServer> {
  const server = new Server();
  const deltaRequests: DeltaRequest[] = [];
  const sotwRequests: SotwRequest[] = [];
  const authorizations: string[] = [];
  const streams = new Set<Stream>();
  let nonce = 0;
  const method = (name: string, onData: (bytes: Uint8Array) => void) => ({
    definition: {
      path: `${PREFIX}/${name}`,
      requestStream: true,
      responseStream: true,
      requestSerialize: asBuffer,
      requestDeserialize: (bytes: Buffer): Uint8Array => bytes,
      responseSerialize: asBuffer,
      responseDeserialize: (bytes: Buffer): Uint8Array => bytes,
    },
    handle: (stream: Stream) => {
      streams.add(stream);
      authorizations.push(String(stream.metadata.get("authorization")[0] ?? ""));
      stream.on("data", onData);
      stream.on("error", () => streams.delete(stream));
      stream.on("cancelled", () => streams.delete(stream));
      stream.on("end", () => {
        streams.delete(stream);
        stream.end();
      });
    },
  });
  const delta = method("DeltaAggregatedResources", (bytes) => {
    deltaRequests.push(decode("envoy.service.discovery.v3.DeltaDiscoveryRequest", bytes));
  });
  const sotw = method("StreamAggregatedResources", (bytes) => {
    sotwRequests.push(decode("envoy.service.discovery.v3.DiscoveryRequest", bytes));
  });
  server.addService(
    { delta: delta.definition, sotw: sotw.definition },
    { delta: delta.handle, sotw: sotw.handle },
  );
  const bound = await new Promise<number>((resolve, reject) => {
    server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), (error, actual) => {
      if (error === null) resolve(actual);
      else reject(error);
    });
  });
  const broadcast = (bytes: Uint8Array): void => {
    for (const stream of streams) stream.write(bytes);
  };
  return {
    port: bound,
    deltaRequests,
    sotwRequests,
    authorizations,
    streams: () => streams.size,
    sendDelta(typeUrl, resources, removed = []) {
      nonce += 1;
      broadcast(
        encode("envoy.service.discovery.v3.DeltaDiscoveryResponse", {
          type_url: typeUrl,
          nonce: String(nonce),
          resources: Object.entries(resources).map(([name, r]) => ({
            name,
            version: r.version,
            resource: r.any,
          })),
          removed_resources: [...removed],
        }),
      );
      return String(nonce);
    },
    sendSotw(typeUrl, version, resources) {
      nonce += 1;
      broadcast(
        encode("envoy.service.discovery.v3.DiscoveryResponse", {
          type_url: typeUrl,
          version_info: version,
          nonce: String(nonce),
          resources: [...resources],
        }),
      );
      return String(nonce);
    },
    stop: () => server.forceShutdown(),
  };
}
