import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runProxy } from "../../../src/proxy/index.ts";
import { createLogger, systemClock } from "../../../src/runtime/index.ts";
import { ended, freePort, startEnvoy } from "./envoy-process.ts";

/** Where a proxy under comparison listens. */
export interface ProxyPlaces {
  readonly listener: number;
  readonly admin: number;
}

const TYPE = "type.googleapis.com/";

export function address(port: number): object {
  return { socket_address: { address: "127.0.0.1", port_value: port } };
}

/** A bootstrap with one HTTP listener, as Envoy's JSON. `manager` adds to the connection manager. */
export function httpBootstrap(
  places: ProxyPlaces,
  clusters: readonly object[],
  routes: readonly object[],
  manager: object = {},
  chain: object = {},
): string {
  const config = {
    "@type": `${TYPE}envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`,
    stat_prefix: "test",
    http_filters: [
      {
        name: "router",
        typed_config: { "@type": `${TYPE}envoy.extensions.filters.http.router.v3.Router` },
      },
    ],
    route_config: { name: "r", virtual_hosts: [{ name: "all", domains: ["*"], routes }] },
    ...manager,
  };
  return JSON.stringify({
    node: { id: "test", cluster: "test" },
    admin: { address: address(places.admin) },
    static_resources: {
      listeners: [
        {
          name: "main",
          address: address(places.listener),
          filter_chains: [{ filters: [{ name: "http", typed_config: config }], ...chain }],
        },
      ],
      clusters,
    },
  });
}

/** Does the same with Envoy and then with our proxy, both started from one bootstrap. */
export async function sideBySide<Result>(
  bootstrap: (places: ProxyPlaces) => string,
  act: (places: ProxyPlaces) => Promise<Result>,
): Promise<{ readonly envoy: Result; readonly ours: Result }> {
  const dir = mkdtempSync(join(tmpdir(), "serin-beside-"));
  try {
    const places = { listener: await freePort(), admin: await freePort() };
    const text = bootstrap(places);
    const file = join(dir, "bootstrap.json");
    writeFileSync(file, text);
    const child = await startEnvoy(file, places.admin);
    let envoy: Result;
    try {
      envoy = await act(places);
    } finally {
      await ended(child);
    }
    const logger = createLogger("beside", "silent");
    const proxy = await runProxy({ bootstrapText: text, logger, clock: systemClock });
    try {
      await proxy.ready;
      return { envoy, ours: await act(places) };
    } finally {
      await proxy.stop(0);
    }
  } finally {
    rmSync(dir, { recursive: true });
  }
}

/** The stats of a proxy whose names match, by name. */
export async function statsOf(
  { admin }: ProxyPlaces,
  pattern: RegExp,
): Promise<Readonly<Record<string, number>>> {
  const response = await fetch(`http://127.0.0.1:${admin}/stats`);
  const stats: Record<string, number> = {};
  for (const line of (await response.text()).split("\n")) {
    const [name = "", value] = line.split(": ");
    if (pattern.test(name)) stats[name] = Number(value);
  }
  return stats;
}
