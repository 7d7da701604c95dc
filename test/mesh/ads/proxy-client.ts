import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createAdsClient } from "../../../src/proxy/ads-client.ts";
import { compileCluster } from "../../../src/proxy/core/compile/cluster.ts";
import { compileResource } from "../../../src/proxy/core/compile/scope.ts";
import { UNKNOWN_PEER } from "../../../src/proxy/core/peer-metadata.ts";
import { ConfigStore } from "../../../src/proxy/xds/config-store.ts";
import { createGrpcClient } from "../../../src/proxy/xds/grpc-channel.ts";
import { createLogger, systemClock } from "../../../src/runtime/index.ts";
import { structFromJson } from "../../../src/xds/index.ts";

const context = {
  readFile: (path: string) => readFileSync(path),
  environment: () => undefined,
  timeOriginMs: 0,
};

export interface ProxyClient {
  readonly store: ConfigStore;
  readonly answers: (readonly [typeUrl: string, error: string | undefined])[];
  isConnected(): boolean;
  stop(): void;
}

/** Our proxy's side of ADS (client and config store, no listeners) against a control plane. */
export function connectProxy(
  port: number,
  options: {
    readonly protocol?: "delta" | "sotw";
    readonly pod?: string;
    readonly ip?: string;
    readonly token?: string;
  } = {},
): ProxyClient {
  const { protocol = "delta", pod = "productpage-v1-6b4c8d7f9-qwert", ip = "127.16.0.2" } = options;
  const answers: (readonly [string, string | undefined])[] = [];
  const logger = createLogger("test", "silent");
  let isConnected = false;
  const store: ConfigStore = new ConfigStore({
    self: UNKNOWN_PEER,
    context,
    clock: systemClock,
    logger,
    onConfig: () => {},
    onWanted: (wanted) => client.want(wanted),
  });
  const { token } = options;
  const target = {
    clusterName: "xds",
    authority: undefined,
    initialMetadata: () =>
      token === undefined ? [] : [["authorization", `Bearer ${token}`] as const],
  };
  const address = { socket_address: { address: "127.0.0.1", port_value: port } };
  const spec = compileResource("Cluster xds", (scope) =>
    compileCluster(
      {
        name: "xds",
        load_assignment: { endpoints: [{ lb_endpoints: [{ endpoint: { address } }] }] },
      },
      context,
      scope,
    ),
  );
  const client = createAdsClient({
    client: createGrpcClient(target, spec, () => undefined),
    target,
    protocol,
    node: {
      id: `sidecar~${ip}~${pod}.default~default.svc.cluster.local`,
      metadata: structFromJson({
        NAME: pod,
        NAMESPACE: "default",
        INTERCEPTION_MODE: "NONE",
        HTTP_PROXY_PORT: "15001",
      }),
    },
    usesCds: true,
    usesLds: true,
    store,
    clock: systemClock,
    logger,
    random: () => 0.1,
    onState: (state) => {
      isConnected = state.isConnected;
    },
    onAnswer: (typeUrl, error) => void answers.push([typeUrl, error]),
  });
  client.start();
  return {
    store,
    answers,
    isConnected: () => isConnected,
    stop() {
      client.stop();
      store.stop();
    },
  };
}

/** Polls until the condition holds; a minute is far beyond what any of these needs. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
): Promise<void> {
  const deadline = Date.now() + 60_000;
  while (!(await condition())) {
    if (Date.now() > deadline) assert.fail(`never came: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
