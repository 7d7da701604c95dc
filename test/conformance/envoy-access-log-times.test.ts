import assert from "node:assert/strict";
import { test } from "node:test";
import { skipWithout } from "../support/tools.ts";
import {
  get,
  type LoggedRequest,
  type LogTable,
  runLogTable,
  runTcpLogs,
} from "./support/log-table.ts";

const skip = skipWithout("envoy");
const FORMAT =
  "%ACCESS_LOG_TYPE% %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %ROUTE_NAME% %UPSTREAM_CLUSTER% " +
  "%UPSTREAM_HOST% %REQ(:PATH)% %BYTES_SENT% %RESP(:STATUS)%";
const UPGRADE = "connection: upgrade\r\nupgrade: echo\r\n";

const REQUESTS: readonly LoggedRequest[] = [
  { name: "plain", request: get("/") },
  { name: "slow", request: get("/", "", { delayMs: 400 }) },
  { name: "no route", request: get("/none") },
  { name: "direct", request: get("/direct") },
  { name: "refused upstream", request: get("/dead") },
  { name: "upgrade", request: get("/upgrade", UPGRADE) },
  { name: "upgrade refused", request: get("/", UPGRADE) },
];

const table = (options: object): LogTable => ({
  logs: [{ name: "all", format: FORMAT }],
  requests: REQUESTS,
  routes: [
    {
      name: "upgrade",
      match: { path: "/upgrade" },
      route: { cluster: "a", upgrade_configs: [{ upgrade_type: "echo" }] },
    },
    { name: "main", match: { path: "/" }, route: { cluster: "a" } },
    { name: "dead", match: { path: "/dead" }, route: { cluster: "dead" } },
    { name: "direct", match: { path: "/direct" }, direct_response: { status: 418 } },
  ],
  manager: options,
});

const OPTIONS: readonly (readonly [name: string, options: object])[] = [
  ["none", {}],
  ["new requests", { access_log_options: { flush_access_log_on_new_request: true } }],
  ["tunnels", { access_log_options: { flush_log_on_tunnel_successfully_established: true } }],
  ["an interval", { access_log_options: { access_log_flush_interval: "0.1s" } }],
  [
    "everything",
    {
      access_log_options: {
        flush_access_log_on_new_request: true,
        access_log_flush_interval: "0.1s",
        flush_log_on_tunnel_successfully_established: true,
      },
    },
  ],
];

for (const [name, options] of OPTIONS) {
  test(`access logs at other times than the end, as Envoy: ${name}`, { skip }, async (t) => {
    const { envoy, ours } = await runLogTable(table(options));
    for (const { name: request } of REQUESTS) {
      await t.test(request, () => {
        // How often an interval passes is the machine's affair.
        const kinds = (logged: typeof envoy) => [...new Set(logged.get(`all / ${request}`))];
        assert.ok(kinds(envoy).length > 0);
        assert.deepEqual(kinds(ours), kinds(envoy));
      });
    }
  });
}

const TCP_LOG = {
  name: "all",
  format: "%ACCESS_LOG_TYPE% %BYTES_RECEIVED% %BYTES_SENT% %RESPONSE_FLAGS% %UPSTREAM_CLUSTER%",
};

for (const isReachable of [true, false]) {
  for (const options of [
    { flush_access_log_on_connected: true },
    { access_log_flush_interval: "0.1s" },
    { flush_access_log_on_connected: true, access_log_flush_interval: "60s" },
  ]) {
    const name = `${isReachable ? "reached" : "refused"} ${JSON.stringify(options)}`;
    test(`TCP access logs at other times, as Envoy: ${name}`, { skip }, async () => {
      const more = { access_log_options: options };
      const { envoy, ours } = await runTcpLogs([TCP_LOG], isReachable, more);
      assert.ok(envoy.length > 0);
      assert.deepEqual([...new Set(ours)], [...new Set(envoy)]);
    });
  }
}
