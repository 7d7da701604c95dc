import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { skipWithout } from "../support/tools.ts";
import { get } from "./support/log-table.ts";
import { exchange } from "./support/raw-http.ts";
import {
  address,
  httpBootstrap,
  type ProxyPlaces,
  sideBySide,
  statsOf,
} from "./support/side-by-side.ts";

const skip = skipWithout("envoy");
const TYPE = "type.googleapis.com/envoy.extensions";
const MONITOR = "envoy.resource_monitors.injected_resource";
const STATS =
  /^(overload\..*(active|scale_percent|pressure|failed_updates)|.*overload_close|.*overload_disable_keepalive|.*overload_reject|.*global_cx_overflow)$/;

/** What a proxy does at one pressure after another. */
interface Observed {
  readonly answers: readonly unknown[];
  readonly log: readonly string[];
  readonly stats: Readonly<Record<string, number>>;
}

/** Gives both proxies the same overload manager, and watches them at each pressure. */
async function observe(
  manager: { readonly monitors?: readonly object[]; readonly actions: readonly object[] },
  pressures: readonly string[],
  ask: (places: ProxyPlaces) => Promise<unknown>,
): Promise<{ readonly envoy: Observed; readonly ours: Observed }> {
  const dir = mkdtempSync(join(tmpdir(), "serin-overload-"));
  const file = join(dir, "pressure");
  const log = join(dir, "access.log");
  const upstream = createServer((_, response) => response.end("answer"));
  await new Promise<void>((resolve) => upstream.listen(0, "127.0.0.1", resolve));
  const clusters = [
    {
      name: "a",
      type: "STATIC",
      load_assignment: {
        cluster_name: "a",
        endpoints: [
          {
            lb_endpoints: [
              { endpoint: { address: address((upstream.address() as AddressInfo).port) } },
            ],
          },
        ],
      },
    },
  ];
  const accessLog = {
    name: "file",
    typed_config: {
      "@type": `${TYPE}.access_loggers.file.v3.FileAccessLog`,
      path: log,
      log_format: {
        text_format_source: {
          inline_string:
            "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %ROUTE_NAME% %REQ(:PATH)%\n",
        },
      },
    },
  };
  // Envoy looks at the file when it is moved into its place.
  const press = (pressure: string): void => {
    writeFileSync(`${file}.new`, pressure);
    renameSync(`${file}.new`, file);
  };
  try {
    return await sideBySide(
      (places) => {
        press("0");
        const config = JSON.parse(
          httpBootstrap(
            places,
            clusters,
            [{ name: "r", match: { prefix: "/" }, route: { cluster: "a" } }],
            {
              access_log: [accessLog],
              // How long Envoy still waits once a connection was idle for too long.
              drain_timeout: "0.1s",
            },
          ),
        );
        config.overload_manager = {
          refresh_interval: "0.05s",
          resource_monitors: [
            {
              name: MONITOR,
              typed_config: {
                "@type": `${TYPE}.resource_monitors.injected_resource.v3.InjectedResourceConfig`,
                filename: file,
              },
            },
            ...(manager.monitors ?? []),
          ],
          actions: manager.actions,
        };
        return JSON.stringify(config);
      },
      async (places) => {
        const answers: unknown[] = [];
        for (const pressure of pressures) {
          press(pressure);
          await pressed(places, Number(pressure));
          answers.push(await ask(places));
        }
        const stats = await statsOf(places, STATS);
        press("0");
        await pressed(places, 0);
        const lines = await logged(log);
        rmSync(log, { force: true });
        return { answers, log: lines, stats: withoutPort(stats, places) };
      },
    );
  } finally {
    upstream.close();
    upstream.closeAllConnections();
    rmSync(dir, { recursive: true });
  }
}

function withoutPort(stats: Readonly<Record<string, number>>, { listener }: ProxyPlaces) {
  return Object.fromEntries(
    Object.entries(stats)
      .filter(([name]) => !name.startsWith("http.admin") && !name.startsWith("listener.admin"))
      .map(([name, value]) => [name.replace(`_${listener}`, "_main"), value]),
  );
}

/** Waits until the proxy has seen the pressure and acted on it. */
async function pressed(places: ProxyPlaces, pressure: number): Promise<void> {
  const deadline = Date.now() + 10_000;
  for (;;) {
    const stats = await statsOf(places, /^overload\./);
    if (stats[`overload.${MONITOR}.pressure`] === Math.trunc(pressure * 100)) break;
    assert.ok(Date.now() < deadline, "the pressure is not seen");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  // Envoy tells its workers by a message of their loop; theirs is idle.
  await new Promise((resolve) => setTimeout(resolve, 100));
}

async function logged(file: string): Promise<readonly string[]> {
  let before = -1;
  for (;;) {
    const text = existsSync(file) ? readFileSync(file, "utf8") : "";
    if (text.length === before) return text.split("\n");
    before = text.length;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

const threshold = (value: number) => ({ name: MONITOR, threshold: { value } });
const scaled = (from: number, to: number) => ({
  name: MONITOR,
  scaled: { scaling_threshold: from, saturation_threshold: to },
});
const action = (name: string, trigger: object, more: object = {}) => ({
  name: `envoy.overload_actions.${name}`,
  triggers: [trigger],
  ...more,
});

/** Status, headers that matter and body of an answer. */
async function answer({ listener }: ProxyPlaces, fields = ""): Promise<object> {
  const { status, body, headers } = await exchange(listener, get("/x", fields));
  const { connection, server } = headers;
  return {
    status,
    body,
    connection,
    server,
    type: headers["content-type"],
    grpc: headers["grpc-status"],
    message: headers["grpc-message"],
  };
}

const HTTP: readonly (readonly [
  name: string,
  actions: readonly object[],
  pressures: readonly string[],
])[] = [
  ["no requests", [action("stop_accepting_requests", threshold(0.9))], ["0.5", "0.9", "1", "0.1"]],
  [
    "no requests, scaled",
    [action("stop_accepting_requests", scaled(0.5, 0.8))],
    ["0.5", "0.8", "0.4"],
  ],
  ["no keep-alive", [action("disable_http_keepalive", threshold(0.8))], ["0.1", "0.8", "0.2"]],
  [
    "connections rejected",
    [action("reject_incoming_connections", threshold(0.95))],
    ["0.9", "0.95", "0.3"],
  ],
  [
    "one after the other",
    [
      action("disable_http_keepalive", threshold(0.8)),
      action("stop_accepting_requests", threshold(0.9)),
    ],
    ["0.85", "0.93", "0"],
  ],
];

for (const [name, actions, pressures] of HTTP) {
  test(`overload as Envoy: ${name}`, { skip }, async () => {
    const { envoy, ours } = await observe({ actions }, pressures, async (places) => [
      await answer(places),
      await answer(places, "content-type: application/grpc\r\n"),
    ]);
    assert.notDeepEqual(envoy.answers[1], envoy.answers.at(-1));
    assert.deepEqual(ours, envoy);
  });
}

test("overload as Envoy: no connections, and those that wait are served later", {
  skip,
}, async () => {
  const waiting: Socket[] = [];
  const { envoy, ours } = await observe(
    { actions: [action("stop_accepting_connections", threshold(0.9))] },
    ["0.1", "0.95", "0.1"],
    async ({ listener }) => {
      const socket = connect(listener, "127.0.0.1");
      let text = "";
      socket.on("data", (chunk: Buffer) => {
        text += chunk.toString("latin1");
      });
      socket.write(get("/x"), "latin1");
      waiting.push(socket);
      const previous = waiting.length % 3 === 0 ? waiting.at(-2) : undefined;
      const deadline = Date.now() + (waiting.length % 3 === 2 ? 600 : 5_000);
      const isAnswered = () => text.includes("answer");
      while (!isAnswered() && Date.now() < deadline) {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      // The one that waited was answered too.
      while (previous?.bytesRead === 0 && Date.now() < deadline) {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      return { isAnswered: isAnswered(), wasPreviousAnswered: (previous?.bytesRead ?? 1) > 0 };
    },
  ).finally(() => {
    for (const socket of waiting) socket.destroy();
  });
  assert.deepEqual(envoy.answers, [
    { isAnswered: true, wasPreviousAnswered: true },
    { isAnswered: false, wasPreviousAnswered: true },
    { isAnswered: true, wasPreviousAnswered: true },
  ]);
  assert.deepEqual(ours.answers, envoy.answers);
});

test("overload as Envoy: a limit on the connections of all listeners", { skip }, async () => {
  const { envoy, ours } = await observe(
    {
      monitors: [
        {
          name: "envoy.resource_monitors.global_downstream_max_connections",
          typed_config: {
            "@type": `${TYPE}.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig`,
            max_active_downstream_connections: 3,
          },
        },
      ],
      actions: [],
    },
    ["0.1"],
    async ({ listener }) => {
      const sockets: Socket[] = [];
      const outcomes: boolean[] = [];
      for (let i = 0; i < 5; i += 1) {
        const socket = connect(listener, "127.0.0.1");
        sockets.push(socket);
        socket.on("error", () => socket.destroy());
        socket.write(get("/x"), "latin1");
        outcomes.push(
          await new Promise<boolean>((resolve) => {
            socket.once("data", () => resolve(true));
            socket.once("close", () => resolve(false));
          }),
        );
      }
      for (const socket of sockets) socket.destroy();
      return outcomes;
    },
  );
  assert.deepEqual(envoy.answers, [[true, true, true, false, false]]);
  assert.deepEqual(ours.answers, envoy.answers);
  const overflow = "listener.127.0.0.1_main.downstream_global_cx_overflow";
  assert.equal(envoy.stats[overflow], 2);
  assert.equal(ours.stats[overflow], 2);
});

test("overload as Envoy: idle connections close sooner", { skip }, async () => {
  const reduce = action("reduce_timeouts", threshold(0.5), {
    typed_config: {
      "@type": "type.googleapis.com/envoy.config.overload.v3.ScaleTimersOverloadActionConfig",
      timer_scale_factors: [{ timer: "HTTP_DOWNSTREAM_CONNECTION_IDLE", min_timeout: "0.1s" }],
    },
  });
  const { envoy, ours } = await observe(
    { actions: [reduce] },
    ["0.1", "0.6"],
    ({ listener }) =>
      new Promise((resolve) => {
        const socket = connect(listener, "127.0.0.1", () => socket.write(get("/x"), "latin1"));
        const give = (outcome: string): void => {
          clearTimeout(deadline);
          socket.destroy();
          resolve(outcome);
        };
        // The timeout itself is Envoy's default of an hour.
        const deadline = setTimeout(() => give("stays"), 4_000);
        socket.resume();
        socket.on("error", () => give("error"));
        socket.on("end", () => give("closed"));
      }),
  );
  assert.deepEqual(envoy.answers, ["stays", "closed"]);
  assert.deepEqual(ours.answers, envoy.answers);
});
