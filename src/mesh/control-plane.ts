import { messageOf } from "../base/index.ts";
import type { KubeStore } from "../kube/store.ts";
import type { Clock, Logger } from "../runtime/index.ts";
import { createAds } from "./ads-server.ts";
import { createAuthenticator } from "./authenticator.ts";
import { followAuthority } from "./authority-follower.ts";
import {
  type CertificateAuthority,
  type CertificateAuthorityOptions,
  createCertificateAuthority,
} from "./certificate-authority.ts";
import { certificateService } from "./certificate-service.ts";
import { createConfigPusher } from "./config-pusher.ts";
import type { InjectionSettings } from "./core/injection-patch.ts";
import { startDebugServer } from "./debug.ts";
import { type ControlPlaneMetrics, createControlPlaneMetrics } from "./debug-metrics.ts";
import { createGatewayDeployer } from "./gateway-deployer.ts";
import { createGatewayStatusWriter } from "./gateway-status.ts";
import { startGrpcServer } from "./grpc-server.ts";
import type { Authenticator, SecretSource } from "./identity.ts";
import { publishInjectionSettings } from "./injection-settings.ts";
import { startLeaderElection } from "./leader-election.ts";
import { loadReportingService } from "./load-reports.ts";
import { metricsService, type ProxyTelemetry } from "./metrics-service.ts";
import { createRouteStatusWriter } from "./route-status.ts";
import { createSecretSource } from "./secret-source.ts";
import { createServerCertificate } from "./server-certificate.ts";
import { watchMesh } from "./watch.ts";
import type { ServicePlace } from "./webhook-registration.ts";
import { startWebhooks } from "./webhook-server.ts";

/** Of service account tokens that sidecars prove themselves with; Istio's. */
const AUDIENCE = "istio-ca";
/** What a pod calls the control plane of a real cluster. */
const SERVER_NAMES = ["istiod.istio-system.svc", "istiod.istio-system.svc.cluster.local"];
const DEFAULT_NAME = "serin-control-plane";
const DEFAULT_PROXY_IMAGE = "docker.io/serin/proxy:0.1.0";

/** TCP ports; 0 = any free one. */
export interface ControlPlanePorts {
  /** xDS in plaintext, on loopback. */
  readonly xds: number;
  /** xDS and certificates by request, over TLS; any free port by default. */
  readonly secure?: number | undefined;
  readonly debug: number;
  readonly webhook: number;
}

export interface ControlPlaneOptions {
  readonly store: KubeStore;
  /** Where the series go that proxies stream. */
  readonly telemetry: ProxyTelemetry;
  readonly logger: Logger;
  readonly clock: Clock;
  /** Where plaintext xDS and the debug pages listen: a loopback address. */
  readonly host: string;
  /** Where xDS over TLS and the webhooks listen, for pods and the API server; `host` by default. */
  readonly publicHost?: string;
  /** 0 = any free port. */
  readonly ports: ControlPlanePorts;
  /** Where mesh-wide policies live. */
  readonly rootNamespace: string;
  readonly trustDomain: string;
  /** What it calls itself beside others: its pod's name; `serin-control-plane` by default. */
  readonly name?: string;
  /** Where pods find a port of this machine (host:port); on `host` by default. */
  readonly reach?: (port: number) => Promise<string>;
  /** Where pods find xDS over TLS (host:port); without it they use plaintext, on this machine. */
  readonly discoveryAddress?: string;
  /** The Service through which the API server reaches the webhooks; by address without one. */
  readonly webhookService?: ServicePlace;
  /** How injected pods get their traffic to the sidecar. */
  readonly interceptionMode: "NONE" | "REDIRECT";
  /** Whether proxies write an access log. */
  readonly accessLog: boolean;
  /** How long workload certificates live, and roots overlap when they change. */
  readonly certificates?: Pick<CertificateAuthorityOptions, "certificateLifetimeMs" | "overlapMs">;
  /** Of Serin, for `pilot_info`. */
  readonly version?: string;
  /** The sidecar's image; `docker.io/serin/proxy` of this version by default. */
  readonly proxyImage?: string;
  /** Who checks tokens and issues certificates, in place of the control plane's own authority. */
  readonly identity?: { readonly authenticator: Authenticator; readonly secrets: SecretSource };
}

export interface ControlPlane {
  /** The ports in use. */
  readonly ports: ControlPlanePorts & { readonly secure: number };
  stop(): Promise<void>;
}

/**
 * Starts the control plane and returns once it has read the mesh and listens.
 * Throws SERIN_PORT_IN_USE, SERIN_PERMISSION, SERIN_USAGE (not a loopback address).
 */
export async function startControlPlane(options: ControlPlaneOptions): Promise<ControlPlane> {
  const { store, telemetry, logger, clock, host, trustDomain, rootNamespace } = options;
  const { publicHost = host, discoveryAddress } = options;
  const discoveryHost = discoveryAddress?.replace(/:\d+$/, "");
  const random = Math.random;
  const stops: (() => Promise<void> | void)[] = [];
  const stop = async (): Promise<void> => {
    for (const each of stops.splice(0).reverse()) await each();
  };
  try {
    const authority = await createCertificateAuthority({
      ...{ store, rootNamespace, trustDomain, clock },
      ...options.certificates,
    });
    const follower = followAuthority({
      ...{ authority, store, rootNamespace },
      clock,
      logger,
      random,
    });
    stops.push(() => {
      follower.stop();
      authority.stop();
    });
    const metrics = createControlPlaneMetrics(clock, {
      rootsPem: () => authority.rootCertificatePem,
      chainPem: () => authority.chainPem,
      connections: () => ads.connections(),
      model: () => pusher.model(),
      version: options.version ?? "unknown",
    });
    /** Says where injection and validation are; not before they are there. */
    let announce: (() => Promise<void>) | undefined;
    const election = startLeaderElection({
      ...{ store, clock, logger, random },
      namespace: rootNamespace,
      name: options.name ?? DEFAULT_NAME,
      onLead() {
        pusher.lead();
        writeGateways();
        announce?.().catch((error: unknown) => {
          logger.error({ reason: messageOf(error) }, "webhooks not registered");
        });
      },
    });
    stops.push(() => election.stop());
    const identity = options.identity ?? ownIdentity(authority, options, metrics, stops);
    const authenticator: Authenticator = {
      async authenticate(token) {
        const found = await identity.authenticator.authenticate(token);
        if (found === undefined) metrics.onUnauthenticated();
        return found;
      },
    };
    const ads = createAds({
      ...{ logger, clock, authenticator },
      secrets: identity.secrets,
      onEvent: (event) => {
        metrics.onEvent(event);
        pusher.onAdsEvent(event);
      },
    });
    const writer = createRouteStatusWriter({ store, clock, logger, random });
    const gatewayStatus = createGatewayStatusWriter({ store, clock, logger, random });
    const deployer = createGatewayDeployer({ store, clock, logger, random });
    // A gateway's pod that comes before the injector would stay without a proxy.
    let isInjecting = false;
    stops.push(() => {
      gatewayStatus.stop();
      deployer.stop();
    });
    const writeGateways = (model = pusher.model(), objects = pusher.objects()): void => {
      if (!election.isLeader() || model === undefined || objects === undefined) return;
      gatewayStatus.apply(model.gatewayApi.statuses, objects);
      if (isInjecting) deployer.apply(model.gatewayApi.deployments, objects);
    };
    const pusher = createConfigPusher({
      model: { trustDomain, rootNamespace },
      accessLog: options.accessLog,
      ads,
      writer,
      store,
      clock,
      logger,
      onPublish: (push) => metrics.onPublish(push),
      onModel: (model, objects) => writeGateways(model, objects),
      isLeader: () => election.isLeader(),
    });
    stops.push(() => writer.stop());
    const methods = [
      ...ads.methods,
      metricsService({ telemetry, clock, logger }),
      loadReportingService({ logger, onReport: metrics.onLoadReport }),
    ];
    const grpc = await startGrpcServer({ host, port: options.ports.xds, methods });
    const certificate = await createServerCertificate({
      ...{ authority, clock, logger },
      names: [
        ...[...SERVER_NAMES, "localhost", "127.0.0.1", host, publicHost],
        ...(discoveryHost === undefined ? [] : [discoveryHost]),
      ],
    });
    const { onCertificate } = metrics;
    const secure = await startGrpcServer({
      ...{ host: publicHost, port: options.ports.secure ?? 0, certificate },
      methods: [
        ...methods,
        certificateService({ authority, authenticator, logger, onCertificate }),
      ],
    });
    stops.push(async () => {
      ads.stop();
      certificate.stop();
      await Promise.all([grpc.stop(), secure.stop()]);
    });
    const debug = await startDebugServer({
      host,
      port: options.ports.debug,
      name: options.name ?? DEFAULT_NAME,
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
    const injection: InjectionSettings = {
      proxyImage: options.proxyImage ?? DEFAULT_PROXY_IMAGE,
      ...(discoveryAddress === undefined
        ? { xdsAddress: (await options.reach?.(grpc.port)) ?? `${host}:${grpc.port}` }
        : { xdsAddress: discoveryAddress, xdsTls: true }),
      interceptionMode: options.interceptionMode,
      clusterId: "Kubernetes",
      audience: AUDIENCE,
    };
    // Last: pods are held up by a webhook that cannot tell them where xDS is.
    const webhooks = await startWebhooks({
      ...{ store, authority, host: publicHost, logger, clock },
      port: options.ports.webhook,
      service: options.webhookService,
      injection,
    });
    stops.push(webhooks.stop);
    await election.first;
    announce = async () => {
      await publishInjectionSettings(store, rootNamespace, injection);
      await webhooks.register();
    };
    if (election.isLeader()) await announce();
    // The API server must go on believing the webhooks.
    authority.onChange((change) => {
      if (change === "roots" && election.isLeader()) {
        webhooks.register().catch((error: unknown) => {
          logger.error({ reason: messageOf(error) }, "webhooks not registered anew");
        });
      }
    });
    isInjecting = true;
    writeGateways();
    const ports = {
      xds: grpc.port,
      secure: secure.port,
      debug: debug.port,
      webhook: webhooks.port,
    };
    logger.info(ports, "control plane ready");
    return { ports, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Tokens by the API server, certificates by the mesh's own root. */
function ownIdentity(
  authority: CertificateAuthority,
  { store, trustDomain, clock, logger }: ControlPlaneOptions,
  { onCertificate }: ControlPlaneMetrics,
  stops: (() => void)[],
): NonNullable<ControlPlaneOptions["identity"]> {
  const secrets = createSecretSource({
    ...{ authority, clock, logger, onCertificate },
    random: Math.random,
  });
  const authenticator = createAuthenticator({ store, trustDomain, audience: AUDIENCE, clock });
  stops.push(() => secrets.stop());
  return { authenticator, secrets };
}
