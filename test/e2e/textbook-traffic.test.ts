import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { serin } from "../support/cli.ts";
import { ENGINES, type Engine, engineLabel, skipWithoutEngine } from "../support/engines.ts";
import { type Answer, askThrough, becomes } from "../support/mesh-client.ts";
import { eventually, kubectlOf, podIp, temporary, up } from "../support/serin-cluster.ts";

const NETWORKING = "examples/bookinfo/networking";
const REVIEWS = "http://reviews:9080/reviews/0";
/** Standard deviations that chance exceeds less often than once in a million runs. */
const SIGMAS = 5;

/** Fails unless `count` of `total` fits a share, by the normal approximation of the binomial. */
function assertShare(count: number, total: number, share: number, what: string): void {
  const spread = SIGMAS * Math.sqrt(total * share * (1 - share));
  const expected = total * share;
  assert.ok(
    Math.abs(count - expected) <= spread,
    `${what}: ${count} of ${total}, expected ${expected.toFixed(0)} ± ${spread.toFixed(0)}`,
  );
}

const versionIn = ({ body }: Answer): string =>
  (JSON.parse(body) as { readonly version: string }).version;

for (const engine of ENGINES) {
  test(
    `the textbook's installation, gateway, routing, resilience, mirroring and faults, with real traffic (sidecars: ${engine})`,
    {
      skip: skipWithoutEngine(engine),
      timeout: 400_000,
    },
    (t) => inTheTextbook(t, engine),
  );
}

async function inTheTextbook(t: TestContext, engine: Engine): Promise<void> {
  const dataDir = temporary();
  const kubectl = kubectlOf(dataDir);
  await up(t, dataDir);
  const apply = (...files: string[]): Promise<string> =>
    kubectl("apply", ...files.flatMap((file) => ["-f", file]));
  const rollout = async (...names: string[]): Promise<void> => {
    for (const name of names) {
      await kubectl("rollout", "status", `deployment/${name}`, "--timeout=90s");
    }
  };

  await t.test("istioctl install --set profile=demo -y", async () => {
    const { code, stdout } = await serin(dataDir, "install", "--set", "profile=demo", "-y");
    assert.equal(code, 0);
    for (const part of ["Istio core", "Istiod", "Ingress gateways", "Egress gateways"]) {
      assert.match(stdout, new RegExp(`^✔ ${part} installed$`, "m"));
    }
    assert.match(stdout, /^✔ Installation complete$/m);
    const pods = await kubectl("get", "pods", "-n", "istio-system");
    assert.match(pods, /^istio-ingressgateway-\S+ +1\/1 +Running +0 /m);
  });

  await t.test("automatic injection: every pod has two containers", async () => {
    await kubectl("label", "namespace", "default", "istio-injection=enabled", engineLabel(engine));
    const bookinfo = ["productpage", "reviews", "ratings", "details"];
    await apply(...bookinfo.map((name) => `examples/bookinfo/${name}.yaml`));
    await rollout("productpage-v1", "reviews-v1", "reviews-v2", "reviews-v3", "ratings-v1");
    const pods = await kubectl("get", "pods");
    for (const name of ["productpage-v1", "reviews-v1", "reviews-v2", "reviews-v3"]) {
      assert.match(pods, new RegExp(`^${name}-\\S+ +2/2 +Running +0 `, "m"), pods);
    }
  });

  await t.test(
    "the gateway's address, and curl http://$INGRESS_HOST:$INGRESS_PORT/productpage",
    async () => {
      await apply("examples/bookinfo/gateway.yaml");
      const service = ["-n", "istio-system", "get", "service", "istio-ingressgateway", "-o"];
      const host = await kubectl(...service, "jsonpath={.status.loadBalancer.ingress[0].ip}");
      const port = await kubectl(...service, 'jsonpath={.spec.ports[?(@.name=="http2")].port}');
      assert.equal(port, "80");
      const nodePort = await kubectl(
        ...service,
        'jsonpath={.spec.ports[?(@.name=="http2")].nodePort}',
      );
      for (const place of [`${host}:${port}`, `127.0.0.1:${nodePort}`]) {
        await eventually(`the page is shown at ${place}`, async () => {
          const response = await fetch(`http://${place}/productpage`).catch(() => undefined);
          return response?.status === 200 && /<html/i.test(await response.text());
        });
        assert.equal((await fetch(`http://${place}/other`)).status, 404);
      }
    },
  );

  const page = await podIp(kubectl, "productpage");
  const ask = (headers: Record<string, string> = {}, url = REVIEWS) =>
    askThrough(page, url, headers);
  const many = async (count: number, headers: Record<string, string> = {}): Promise<Answer[]> => {
    const answers: Answer[] = [];
    for (let i = 0; i < count; i += 20) {
      const batch = Array.from({ length: Math.min(20, count - i) }, () => ask(headers));
      answers.push(...(await Promise.all(batch)));
    }
    return answers;
  };
  const versionsOf = async (count: number, headers: Record<string, string> = {}) => {
    const counts: Record<string, number> = {};
    for (const answer of await many(count, headers)) {
      assert.equal(answer.status, 200);
      const version = versionIn(answer);
      counts[version] = (counts[version] ?? 0) + 1;
    }
    return counts;
  };
  /** Applies a VirtualService and waits until every proxy has acknowledged it. */
  const route = async (file: string): Promise<void> => {
    await apply(`${NETWORKING}/${file}.yaml`);
    await kubectl("wait", "--for=condition=Reconciled", "virtualservice/reviews", "--timeout=60s");
    const path = "jsonpath={.metadata.generation} {.status.observedGeneration}";
    await eventually(`${file} is everywhere`, async () => {
      const [now, seen] = (await kubectl("get", "virtualservice/reviews", "-o", path)).split(" ");
      return now === seen;
    });
  };
  const setEnv = async (...pairs: string[]): Promise<void> => {
    await kubectl("set", "env", "deployment/reviews-v1", ...pairs);
    await rollout("reviews-v1");
    await eventually("one pod of reviews v1 is left", async () => {
      const names = await kubectl("get", "pods", "-l", "app=reviews,version=v1", "-o", "name");
      return names.trim().split("\n").length === 1;
    });
  };
  /** The access log's lines of a pod's sidecar, as JSON. */
  const logOf = async (labels: string): Promise<readonly Record<string, unknown>[]> => {
    const text = await kubectl("logs", "-l", labels, "-c", "istio-proxy", "--tail=-1");
    return text
      .split("\n")
      .filter((line) => line.startsWith('{"'))
      .map((line) => JSON.parse(line) as Record<string, unknown>)
      .filter((line) => line["method"] !== undefined);
  };

  await t.test("by weight: 90 % to v1, 10 % to v2", async () => {
    await apply(`${NETWORKING}/destinationrule-reviews.yaml`);
    await route("virtualservice-reviews-90-10");
    const { v1 = 0, v2 = 0, ...others } = await versionsOf(1000);
    assert.deepEqual(others, {});
    assert.equal(v1 + v2, 1000);
    assertShare(v2, 1000, 0.1, "v2");
  });

  for (const [file, name, value] of [
    ["virtualservice-reviews-header", "user", "jason"],
    ["virtualservice-reviews-beta-tester", "user", "beta-tester"],
    ["virtualservice-reviews-region", "x-region", "beijing"],
  ] as const) {
    await t.test(`by header: ${name}: ${value} to v2, others to v1`, async () => {
      await route(file);
      assert.deepEqual(await versionsOf(40, { [name]: value }), { v2: 40 });
      assert.deepEqual(await versionsOf(40, { [name]: `${value}x` }), { v1: 40 });
      assert.deepEqual(await versionsOf(40), { v1: 40 });
    });
  }

  await t.test("by URI: what begins with /api/v2 to v2, the rest to v1", async () => {
    await route("virtualservice-reviews-uri");
    const path = "/api/v2/reviews/0?here";
    for (let i = 0; i < 10; i += 1) await ask({}, `http://reviews:9080${path}`);
    assert.deepEqual(await versionsOf(20), { v1: 20 });
    const asked = async (version: string): Promise<number> =>
      (await logOf(`app=reviews,version=${version}`)).filter((line) => line["path"] === path)
        .length;
    await eventually("v2 has logged them", async () => (await asked("v2")) === 10);
    assert.equal(await asked("v1"), 0);
  });

  await t.test("mirroring: v1 answers, v2 gets a copy of each request", async () => {
    await route("virtualservice-reviews-mirror");
    const url = "http://reviews:9080/reviews/7";
    for (let i = 0; i < 50; i += 1) assert.equal(versionIn(await ask({}, url)), "v1");
    await eventually("v2 has logged the copies", async () => {
      const lines = await logOf("app=reviews,version=v2");
      return lines.filter((line) => line["path"] === "/reviews/7").length === 50;
    });
  });

  await t.test("a fault: 10 % of requests are delayed by 5 s", async () => {
    await route("virtualservice-reviews-fault-delay");
    const url = "http://reviews:9080/reviews/8";
    const answers = await Promise.all(Array.from({ length: 200 }, () => ask({}, url)));
    assert.ok(answers.every(({ status }) => status === 200));
    await eventually("productpage's sidecar has logged them", async () => {
      const lines = (await logOf("app=productpage")).filter(
        (line) => line["path"] === "/reviews/8",
      );
      if (lines.length < 200) return false;
      const delayed = lines.filter((line) => line["response_flags"] === "DI");
      assertShare(delayed.length, 200, 0.1, "delayed");
      assert.ok(delayed.every((line) => Number(line["duration"]) >= 4900));
      return true;
    });
  });

  await t.test("a fault: 10 % of requests are answered with 500", async () => {
    await route("virtualservice-reviews-fault-abort");
    const answers = await many(500);
    const aborted = answers.filter(({ status }) => status === 500);
    assert.ok(aborted.every(({ body }) => body === "fault filter abort"));
    assert.equal(answers.length - aborted.length, answers.filter((a) => a.status === 200).length);
    assertShare(aborted.length, 500, 0.1, "aborted");
  });

  await t.test("retries: three more tries for what fails half of the time", async () => {
    await setEnv("FAULT_ERROR_RATE=0.5");
    await route("virtualservice-reviews-retry");
    const answers = await many(400);
    const failed = answers.filter(({ status }) => status !== 200);
    assertShare(failed.length, 400, 0.5 ** 4, "failed in spite of three retries");
    await kubectl("delete", "virtualservice", "reviews");
    await apply(`${NETWORKING}/virtualservice-reviews-90-10.yaml`);
    await becomes(
      "without retries a version fails half of the time",
      () => ask({}),
      ({ status }) => status === 500 || status === 200,
    );
  });

  await t.test("a timeout: 3 s, then 504", async () => {
    await setEnv("FAULT_ERROR_RATE-", "FAULT_DELAY_RATE=1", "FAULT_DELAY_MS=8000");
    await route("virtualservice-reviews-timeout");
    const beganMs = performance.now();
    const answer = await ask();
    assert.deepEqual([answer.status, answer.body], [504, "upstream request timeout"]);
    assert.ok(performance.now() - beganMs >= 2990);
  });

  await t.test(
    "circuit breaking: 100 requests at once and 50 waiting, the rest gets 503",
    async () => {
      await setEnv("FAULT_DELAY_MS=6000");
      await kubectl("delete", "virtualservice", "reviews");
      const said = await apply(`${NETWORKING}/destinationrule-reviews-circuit-breaker.yaml`);
      assert.match(said, /destinationrule.networking.istio.io\/reviews configured/);
      // All of it to one slow version, so that requests pile up.
      await kubectl("scale", "deployment/reviews-v2", "deployment/reviews-v3", "--replicas=0");
      await eventually("v1 is the only one", async () => {
        const names = await kubectl("get", "pods", "-l", "app=reviews", "-o", "name");
        return names.trim().split("\n").length === 1;
      });
      await becomes(
        "v1 answers",
        () => ask({}, "http://reviews:9080/health"),
        ({ status }) => status === 200,
      );
      const url = "http://reviews:9080/reviews/9";
      const answers: Promise<Answer>[] = [];
      const active = async (): Promise<number> => {
        const response = await fetch(`http://${page}:15000/stats`);
        const name =
          "cluster.outbound|9080||reviews.default.svc.cluster.local.upstream_rq_active: ";
        const line = (await response.text()).split("\n").find((each) => each.startsWith(name));
        return Number(line?.slice(name.length));
      };
      // Step by step: while connections are being opened, no more than 50 requests may wait for them.
      for (let count = 25; count <= 100; count += 25) {
        answers.push(...Array.from({ length: 25 }, () => ask({}, url)));
        await eventually(
          `${count} requests are on their way`,
          async () => (await active()) === count,
        );
      }
      answers.push(...Array.from({ length: 120 }, () => ask({}, url)));
      const ended = await Promise.all(answers);
      const refused = ended.filter(({ status }) => status === 503);
      assert.equal(ended.filter(({ status }) => status === 200).length, 150);
      assert.equal(refused.length, 70);
      assert.ok(
        refused.every(({ body }) => /reset reason: overflow$/.test(body)),
        refused[0]?.body ?? "",
      );
      const lines = (await logOf("app=productpage")).filter(
        (line) => line["response_flags"] === "UO",
      );
      assert.equal(lines.length, refused.length);
    },
  );

  await t.test("circuit breaking: five failures in a row take an instance out", async () => {
    await setEnv("FAULT_DELAY_RATE-", "FAULT_DELAY_MS-", "FAULT_ERROR_RATE=1");
    await kubectl("scale", "deployment/reviews-v2", "deployment/reviews-v3", "--replicas=1");
    await rollout("reviews-v2", "reviews-v3");
    let inARow = 0;
    await eventually("only healthy versions are asked", async () => {
      inARow = (await ask()).status === 200 ? inARow + 1 : 0;
      return inARow === 30;
    });
    assert.deepEqual(Object.keys(await versionsOf(30)).sort(), ["v2", "v3"]);
  });
}
