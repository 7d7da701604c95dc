import type { KubeStore } from "../kube/store.ts";
import type { Clock, Logger } from "../runtime/index.ts";
import { createAds } from "./ads-server.ts";
import { createConfigPusher } from "./config-pusher.ts";
import { startDebugServer } from "./debug.ts";
import { createControlPlaneMetrics } from "./debug-metrics.ts";
import { startGrpcServer } from "./grpc-server.ts";
import type { Authenticator, SecretSource } from "./identity.ts";
import { metricsService, type ProxyTelemetry } from "./metrics-service.ts";
import { createRouteStatusWriter } from "./route-status.ts";
import { watchMesh } from "./watch.ts";

export interface ControlPlaneOptions {
  readonly store: KubeStore;
  /** Where the series go that proxies stream. */
  readonly telemetry: ProxyTelemetry;
  readonly logger: Logger;
  readonly clock: Clock;
  /** The address to listen on; xDS is plaintext, so it must be loopback. */
  readonly host: string;
  /** 0 = any free port. */
  readonly ports: { readonly xds: number; readonly debug: number; readonly webhook: number };
  /** Where mesh-wide policies live. */
  readonly rootNamespace: string;
  readonly trustDomain: string;
  /** How injected pods get their traffic to the sidecar. */
  readonly interceptionMode: "NONE" | "REDIRECT";
  /** Whether proxies write an access log. */
  readonly accessLog: boolean;
  /** Who checks tokens and issues certificates; without it nobody gets secrets. */
  readonly identity?: { readonly authenticator: Authenticator; readonly secrets: SecretSource };
}

export interface ControlPlane {
  /** The ports in use; `webhook` is 0 when no webhooks are served. */
  readonly ports: { readonly xds: number; readonly debug: number; readonly webhook: number };
  stop(): Promise<void>;
}

/**
 * Starts the control plane and returns once it has read the mesh and listens.
 * Throws SERIN_PORT_IN_USE, SERIN_PERMISSION, SERIN_USAGE (not a loopback address).
 */
export async function startControlPlane(options: ControlPlaneOptions): Promise<ControlPlane> {
  const { store, telemetry, logger, clock, host, identity } = options;
  const random = Math.random;
  const stops: (() => Promise<void> | void)[] = [];
  const stop = async (): Promise<void> => {
    for (const each of stops.splice(0).reverse()) await each();
  };
  try {
    const metrics = createControlPlaneMetrics(clock);
    const ads = createAds({
      logger,
      authenticator: identity?.authenticator,
      secrets: identity?.secrets,
      onEvent: (event) => {
        metrics.onEvent(event);
        pusher.onAdsEvent(event);
      },
    });
    const writer = createRouteStatusWriter({ store, clock, logger, random });
    const pusher = createConfigPusher({
      model: { trustDomain: options.trustDomain, rootNamespace: options.rootNamespace },
      accessLog: options.accessLog,
      ads,
      writer,
      store,
      clock,
      logger,
      onPublish: (push) => metrics.onPublish(push),
    });
    stops.push(() => writer.stop());
    const methods = [...ads.methods, metricsService({ telemetry, clock, logger })];
    const grpc = await startGrpcServer({ host, port: options.ports.xds, methods });
    stops.push(async () => {
      ads.stop();
      await grpc.stop();
    });
    const debug = await startDebugServer({
      host,
      port: options.ports.debug,
      isReady: () => pusher.model() !== undefined,
      connections: ads.connections,
      objects: pusher.objects,
      model: pusher.model,
      metrics: metrics.text,
    });
    stops.push(() => debug.stop());
    const onChange = pusher.apply;
    const watch = watchMesh({ store, clock, logger, random, onChange });
    stops.push(() => watch.stop());
    await watch.synced;
    logger.info({ xds: grpc.port, debug: debug.port }, "control plane ready");
    return { ports: { xds: grpc.port, debug: debug.port, webhook: 0 }, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
