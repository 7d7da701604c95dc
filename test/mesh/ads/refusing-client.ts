import { Client, credentials, Metadata } from "@grpc/grpc-js";
import type { SessionRequest } from "../../../src/mesh/core/session.ts";
import {
  decode,
  ENDPOINT_TYPE,
  encode,
  type ResourceTypeUrl,
  ROUTE_TYPE,
} from "../../../src/xds/index.ts";
import { ModelClient } from "../core/session/model-client.ts";

const METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";

/** A delta client over real gRPC that refuses every route configuration, with these words. */
export function connectRefusing(port: number, reason: string): { stop(): void } {
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
  const model = new ModelClient("delta", ({ typeUrl }) => typeUrl === ROUTE_TYPE);
  const same = (bytes: Buffer): Buffer => bytes;
  const stream = client.makeBidiStreamRequest(METHOD, same, same, new Metadata());
  const id = "sidecar~127.16.0.8~refuser.default~default.svc.cluster.local";
  const node = {
    id,
    metadata: {
      fields: {
        HTTP_PROXY_PORT: { string_value: "15001" },
        INTERCEPTION_MODE: { string_value: "NONE" },
      },
    },
  };
  const send = ({ typeUrl, nonce, error, subscription }: SessionRequest): void => {
    if (subscription.protocol !== "delta") return;
    const request = encode("envoy.service.discovery.v3.DeltaDiscoveryRequest", {
      node,
      type_url: typeUrl,
      response_nonce: nonce,
      resource_names_subscribe: [...subscription.subscribe],
      resource_names_unsubscribe: [...subscription.unsubscribe],
      initial_resource_versions: subscription.initialVersions,
      ...(error === undefined ? {} : { error_detail: { code: 3, message: reason } }),
    });
    stream.write(Buffer.from(request));
  };
  stream.on("error", () => {});
  stream.on("data", (bytes: Buffer) => {
    const response = decode("envoy.service.discovery.v3.DeltaDiscoveryResponse", bytes);
    const typeUrl = (response.type_url ?? ENDPOINT_TYPE) as ResourceTypeUrl;
    const resources = (response.resources ?? []).map((each) => ({
      typeUrl,
      name: each.name ?? "",
      version: each.version ?? "",
      body: each.resource?.value ?? new Uint8Array(0),
    }));
    const removed = response.removed_resources ?? [];
    const nonce = response.nonce ?? "";
    for (const request of model.receive({ typeUrl, version: "", nonce, resources, removed })) {
      send(request);
    }
  });
  for (const request of model.start()) send(request);
  return {
    stop() {
      stream.cancel();
      client.close();
    },
  };
}
