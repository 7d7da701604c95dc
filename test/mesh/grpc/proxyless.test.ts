import assert from "node:assert/strict";
import { test } from "node:test";
import { status } from "@grpc/grpc-js";
import { RESOURCES } from "../../../src/api/index.ts";
import { until } from "../ads/proxy-client.ts";
import { destinationRule, virtualService } from "../core/support/objects.ts";
import { CLIENT_POD, grpcWorld, startEcho, stopWorldAtTheEnd } from "./world.ts";

stopWorldAtTheEnd();

const ECHO = { name: "echo" };
const HOST = "echo";
const subsets = ["v1", "v2"].map((version) => ({ name: version, labels: { version } }));
const to = (subset: string, weight?: number) => ({
  destination: { host: HOST, subset },
  ...(weight === undefined ? {} : { weight }),
});

test("a channel finds its service by xDS alone, under each name that its clients may use", async (t) => {
  const world = await grpcWorld();
  await world.reset();
  await startEcho(t, world.ip(10), world.port, "v1");
  await world.applyEcho([{}]);
  const names = ["echo.default.svc.cluster.local", "echo.default.svc", "echo.default", "echo"];
  for (const name of names) {
    const client = world.client(`${name}:7070`);
    assert.deepEqual(await client.say(), { code: status.OK, text: "v1", details: "" }, name);
  }
  // They are told at once; this client waits for 15 s before it believes it.
  const nobody = await world.client("nobody.default:7070").say({}, 200);
  assert.equal(nobody.code, status.DEADLINE_EXCEEDED);
  await until("everything acknowledged", async () => {
    const [proxy] = await world.syncz();
    assert.equal(proxy?.["proxy"], `${CLIENT_POD}.default`);
    return ["cluster", "listener", "route", "endpoint"].every(
      (type) => proxy?.[`${type}_status`] === "SYNCED",
    );
  });
});

test("weights split calls, and follow their change without a failed call", async (t) => {
  const world = await grpcWorld();
  await world.reset();
  await startEcho(t, world.ip(10), world.port, "v1");
  await startEcho(t, world.ip(11), world.port, "v2");
  await world.applyEcho([{}, {}]);
  await world.apply(RESOURCES.destinationRule, destinationRule(ECHO, { host: HOST, subsets }));
  const weights = (v1: number, v2: number) =>
    virtualService(ECHO, { hosts: [HOST], http: [{ route: [to("v1", v1), to("v2", v2)] }] });
  await world.apply(RESOURCES.virtualService, weights(90, 10));
  const client = world.client();
  await until("both versions", async () => Object.keys(await client.count(50)).length === 2);
  const { v1 = 0, v2 = 0, ...others } = await client.count(1000);
  assert.deepEqual(others, {});
  // Binomial(1000, 0.1): 55..150 but for less than one run in a million.
  assert.ok(v2 > 54 && v2 < 151, `v2 got ${v2} of ${v1 + v2}`);
  const seen: Record<string, number>[] = [];
  for (const [a, b] of [
    [0, 100],
    [100, 0],
    [50, 50],
  ] as const) {
    await world.apply(RESOURCES.virtualService, weights(a, b));
    await until(`weights ${a}/${b}`, async () => {
      const counts = await client.count(50);
      seen.push(counts);
      return Object.hasOwn(counts, "v1") === a > 0 && Object.hasOwn(counts, "v2") === b > 0;
    });
  }
  const codes = new Set(seen.flatMap((counts) => Object.keys(counts)));
  assert.deepEqual([...codes].sort(), ["v1", "v2"], "no call failed");
});

test("headers and methods choose the version; what no gRPC call can be is left out", async (t) => {
  const world = await grpcWorld();
  await world.reset();
  await startEcho(t, world.ip(10), world.port, "v1");
  await startEcho(t, world.ip(11), world.port, "v2");
  await world.applyEcho([{}, {}]);
  await world.apply(RESOURCES.destinationRule, destinationRule(ECHO, { host: HOST, subsets }));
  await world.apply(
    RESOURCES.virtualService,
    virtualService(ECHO, {
      hosts: [HOST],
      http: [
        { match: [{ queryParams: { a: { exact: "b" } } }], route: [to("v2")] },
        { match: [{ method: { exact: "GET" } }], route: [to("v2")] },
        { match: [{ headers: { user: { exact: "jason" } } }], route: [to("v2")] },
        { match: [{ headers: { user: { regex: "j.*e" } } }], route: [to("v2")] },
        { match: [{ headers: { user: { prefix: "gone" } } }], redirect: { uri: "/elsewhere" } },
        {
          match: [{ uri: { prefix: "/echo.Echo/" }, method: { exact: "POST" } }],
          route: [to("v1")],
        },
        { route: [to("v2")] },
      ],
    }),
  );
  const client = world.client();
  const text = async (user?: string) => (await client.say(user === undefined ? {} : { user })).text;
  await until("the routes", async () => {
    const { code, details } = await client.say({ user: "gone for good" });
    return code === status.UNKNOWN && details === "Fault injected";
  });
  for (const [user, version] of [
    [undefined, "v1"],
    ["jason", "v2"],
    ["jane", "v2"],
    ["john", "v1"],
  ] as const) {
    for (const _ of [1, 2, 3, 4]) assert.equal(await text(user), version, user ?? "nobody");
  }
});

test("a route's timeout ends the call; its retries hide failures", async (t) => {
  const world = await grpcWorld();
  await world.reset();
  const echo = await startEcho(t, world.ip(10), world.port, async ({ metadata }) => {
    if (metadata.get("slow").length > 0) {
      await new Promise((resolve) => setTimeout(resolve, 2000));
    }
    // The third attempt of a call is the first that succeeds.
    const isIll = metadata.get("flaky").length > 0;
    const attempts = Number(metadata.get("grpc-previous-rpc-attempts")[0] ?? 0);
    return isIll && attempts < 2 ? status.UNAVAILABLE : "v1";
  });
  await world.applyEcho([{}]);
  await world.apply(RESOURCES.destinationRule, destinationRule(ECHO, { host: HOST, subsets }));
  await world.apply(
    RESOURCES.virtualService,
    virtualService(ECHO, {
      hosts: [HOST],
      http: [
        { match: [{ headers: { slow: { exact: "yes" } } }], timeout: "0.3s", route: [to("v1")] },
        {
          match: [{ headers: { flaky: { exact: "retried" } } }],
          retries: { attempts: 3, retryOn: "unavailable,5xx" },
          route: [to("v1")],
        },
        { retries: { attempts: 0 }, route: [to("v1")] },
      ],
    }),
  );
  const client = world.client();
  await until("the routes", async () => {
    const { code } = await client.say({ slow: "yes" });
    return code === status.DEADLINE_EXCEEDED;
  });
  const before = echo.calls();
  assert.deepEqual(await client.count(20, { flaky: "retried" }), { v1: 20 });
  assert.equal(echo.calls() - before, 60);
  assert.deepEqual(await client.count(20, { flaky: "yes" }), { UNAVAILABLE: 20 });
});

test("faults are injected by percentage, delays too", async (t) => {
  const world = await grpcWorld();
  await world.reset();
  await startEcho(t, world.ip(10), world.port, "v1");
  await world.applyEcho([{}]);
  await world.apply(RESOURCES.destinationRule, destinationRule(ECHO, { host: HOST, subsets }));
  const fault = (value: object) =>
    virtualService(ECHO, {
      hosts: [HOST],
      http: [
        {
          match: [{ headers: { late: { exact: "yes" } } }],
          fault: { delay: { fixedDelay: "10s", percentage: { value: 100 } } },
          route: [to("v1")],
        },
        { fault: { abort: value }, retries: { attempts: 0 }, route: [to("v1")] },
      ],
    });
  const abort = { grpcStatus: "PERMISSION_DENIED", percentage: { value: 30 } };
  await world.apply(RESOURCES.virtualService, fault(abort));
  const client = world.client();
  await until("faults", async () => (await client.count(50))["PERMISSION_DENIED"] !== undefined);
  const { PERMISSION_DENIED: denied = 0, v1 = 0 } = await client.count(1000);
  assert.equal(denied + v1, 1000);
  // Binomial(1000, 0.3): 230..372 but for less than one run in a million.
  assert.ok(denied > 229 && denied < 373, `${denied} of 1000 were refused`);
  const late = await client.say({ late: "yes" }, 500);
  assert.equal(late.code, status.DEADLINE_EXCEEDED);
  const all = { httpStatus: 503, percentage: { value: 100 } };
  await world.apply(RESOURCES.virtualService, fault(all));
  await until("503", async () => (await client.count(20))["UNAVAILABLE"] === 20);
});

test("what clients sent where is reported, and counted", async (t) => {
  const world = await grpcWorld();
  await world.reset();
  await startEcho(t, world.ip(10), world.port, ({ metadata }) =>
    metadata.get("ill").length > 0 ? status.INTERNAL : "v1",
  );
  await world.applyEcho([{}]);
  const client = world.client();
  const counted = async (outcome: string): Promise<number> => {
    const cluster = "outbound\\|7070\\|\\|echo\\.default\\.svc\\.cluster\\.local";
    const line = `^serin_lrs_requests_total\\{cluster="${cluster}",outcome="${outcome}"\\} (\\d+)$`;
    return Number(new RegExp(line, "m").exec(await world.metrics())?.[1] ?? 0);
  };
  await until("the channel", async () => (await client.say()).text === "v1");
  const before = { success: await counted("success"), error: await counted("error") };
  await client.count(30);
  await client.count(20, { ill: "yes" });
  await until(
    "the report",
    async () =>
      (await counted("success")) >= before.success + 30 &&
      (await counted("error")) >= before.error + 20,
  );
});

test("endpoints come and go without a failed call", async (t) => {
  const world = await grpcWorld();
  await world.reset();
  await startEcho(t, world.ip(10), world.port, "v1");
  await startEcho(t, world.ip(11), world.port, "v2");
  await world.applyEcho([{}, {}]);
  const client = world.client();
  await until("both", async () => Object.keys(await client.count(20)).length === 2);
  const seen = new Set<string>();
  let isDone = false;
  const load = (async () => {
    while (!isDone) for (const key of Object.keys(await client.count(20))) seen.add(key);
  })();
  for (const only of [0, 1, 0, 1]) {
    const pods = [{ isReady: only === 0 }, { isReady: only === 1 }];
    await world.applyEcho(pods);
    await until(`only v${only + 1}`, async () => {
      const counts = await client.count(30);
      return counts[`v${only + 1}`] === 30;
    });
  }
  isDone = true;
  await load;
  assert.deepEqual([...seen].sort(), ["v1", "v2"]);
  // Nobody left: calls fail at once, and the next pod that is ready is found.
  await world.applyEcho([{ isReady: false }, { isReady: false }]);
  await until("nobody", async () => (await client.say({}, 500)).code === status.UNAVAILABLE);
  await world.applyEcho([{}, {}]);
  await until("both again", async () => Object.keys(await client.count(20)).length === 2);
});

test("a host that fails its calls is ejected; too many calls at once are refused", async (t) => {
  const world = await grpcWorld();
  await world.reset();
  let isIll = true;
  const waiting: (() => void)[] = [];
  const release = (): void => {
    for (const each of waiting.splice(0)) each();
  };
  t.after(release);
  await startEcho(t, world.ip(20), world.port, async ({ metadata }) => {
    if (metadata.get("wait").length > 0)
      await new Promise<void>((resolve) => waiting.push(resolve));
    return "v1";
  });
  await startEcho(t, world.ip(21), world.port, () => (isIll ? status.INTERNAL : "v2"));
  const [v1, v2] = [{ ip: world.ip(20) }, { ip: world.ip(21) }];
  await world.applyEcho([v1, v2], "ill");
  const rule = (trafficPolicy: object) =>
    destinationRule({ name: "ill" }, { host: "ill", trafficPolicy });
  const outlierDetection = {
    ...{ consecutive5xxErrors: 5, interval: "0.2s", baseEjectionTime: "1s" },
    maxEjectionPercent: 100,
  };
  const client = world.client("ill:7070");
  await until("both", async () => Object.keys(await client.count(20)).length === 2);
  await world.apply(RESOURCES.destinationRule, rule({ outlierDetection }));
  await until("the ejection", async () => (await client.count(40))["v1"] === 40);
  isIll = false;
  await until("the return", async () => (await client.count(40))["v2"] !== undefined);

  const connectionPool = { http: { http2MaxRequests: 2 } };
  await world.applyEcho([v1], "ill");
  await world.apply(RESOURCES.destinationRule, rule({ connectionPool }));
  await until("the limit", async () => {
    let refused = 0;
    let ended = 0;
    const calls: Promise<void>[] = [];
    // One after the other: this client counts a call once it has started.
    for (const started of [1, 2, 3, 4, 5, 6]) {
      const call = async (): Promise<void> => {
        const { code } = await client.say({ wait: "yes" });
        ended += 1;
        if (code === status.UNAVAILABLE) refused += 1;
      };
      calls.push(call());
      await until("the call decided", () => waiting.length + ended === started);
    }
    release();
    await Promise.all(calls);
    return refused === 4;
  });
});
