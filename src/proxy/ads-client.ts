import type { Client, ClientDuplexStream } from "@grpc/grpc-js";
import { backoffMs, messageOf } from "../base/index.ts";
import type { Clock, Logger } from "../runtime/index.ts";
import type { envoy_config_core_v3_Node } from "../xds/index.ts";
import type { GrpcTarget } from "./config/bootstrap.ts";
import type { ConfigStore } from "./xds/config-store.ts";
import { createDeltaSession, type SessionOptions } from "./xds/delta-session.ts";
import { metadataOf } from "./xds/grpc-channel.ts";
import type { WantedNames } from "./xds/resource.ts";
import type { AdsSession } from "./xds/session.ts";
import { createSotwSession } from "./xds/sotw-session.ts";

const SERVICE = "/envoy.service.discovery.v3.AggregatedDiscoveryService";
const BACKOFF = { baseMs: 200, maxMs: 10_000 };

export interface AdsClientOptions {
  readonly client: Client;
  readonly target: GrpcTarget;
  readonly protocol: "delta" | "sotw";
  readonly node: envoy_config_core_v3_Node;
  readonly usesCds: boolean;
  readonly usesLds: boolean;
  readonly store: ConfigStore;
  readonly clock: Clock;
  readonly logger: Logger;
  /** In [0, 1), for the jitter of the back-off. */
  readonly random: () => number;
  readonly onState: (state: { readonly isConnected: boolean }) => void;
  readonly onAnswer: SessionOptions["onAnswer"];
}

/** The stream to the control plane. It is opened again for ever; the proxy works without it. */
export interface AdsClient {
  start(): void;
  want(wanted: WantedNames): void;
  stop(): void;
}

type Stream = ClientDuplexStream<Uint8Array, Uint8Array>;

const asBuffer = (bytes: Uint8Array): Buffer =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

export function createAdsClient(options: AdsClientOptions): AdsClient {
  const { client, logger, clock } = options;
  let wanted: WantedNames = { endpoints: new Set(), routes: new Set(), secrets: new Set() };
  let session: AdsSession | undefined;
  let stream: Stream | undefined;
  let attempt = 0;
  let cancelRetry: (() => void) | undefined;
  let isStopped = false;

  const open = (): void => {
    cancelRetry = undefined;
    const method =
      options.protocol === "delta" ? "DeltaAggregatedResources" : "StreamAggregatedResources";
    const opened: Stream = client.makeBidiStreamRequest(
      `${SERVICE}/${method}`,
      asBuffer,
      (bytes: Buffer) => bytes,
      metadataOf(options.target),
    );
    stream = opened;
    const create = options.protocol === "delta" ? createDeltaSession : createSotwSession;
    const ours = create({
      node: options.node,
      store: options.store,
      usesCds: options.usesCds,
      usesLds: options.usesLds,
      send: (bytes) => void opened.write(bytes),
      onAnswer: options.onAnswer,
    });
    session = ours;
    opened.on("data", (bytes: Uint8Array) => {
      if (opened !== stream) return;
      if (attempt !== 0 || !isConnected) {
        attempt = 0;
        setConnected(true);
      }
      try {
        ours.receive(bytes);
      } catch (error) {
        // A response that does not decode: the stream cannot be trusted, start over.
        logger.error({ reason: messageOf(error) }, "xds response is not readable");
        opened.cancel();
      }
    });
    // `error` carries the status of a failed call; `end` alone is a server that closed in peace.
    opened.on("error", (error: Error) => closed(opened, messageOf(error)));
    opened.on("end", () => closed(opened, "the server ended the stream"));
    ours.start(wanted);
  };

  let isConnected = false;
  const setConnected = (value: boolean): void => {
    if (value !== isConnected) logger.info({ connected: value }, "control plane stream changed");
    isConnected = value;
    options.onState({ isConnected: value });
  };

  const closed = (which: Stream, reason: string): void => {
    if (which !== stream || isStopped) return;
    stream = undefined;
    session = undefined;
    setConnected(false);
    const delayMs = backoffMs(attempt, BACKOFF, options.random());
    attempt += 1;
    logger.debug({ reason, delayMs, attempt }, "control plane stream closed, will reconnect");
    cancelRetry = clock.schedule(delayMs, open);
  };

  return {
    start: open,
    want(names) {
      wanted = names;
      session?.want(names);
    },
    stop() {
      isStopped = true;
      cancelRetry?.();
      stream?.cancel();
      client.close();
    },
  };
}
