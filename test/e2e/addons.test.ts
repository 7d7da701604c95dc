import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { parseAllDocuments } from "yaml";
import { serin } from "../support/cli.ts";
import { eventually, kubectlOf, podIp, temporary, up } from "../support/serin-cluster.ts";
import { skipWithout } from "../support/tools.ts";

const ADDONS = "examples/addons";

interface Dashboard {
  readonly uid: string;
  readonly title: string;
  readonly templating: {
    readonly list: readonly {
      readonly name: string;
      readonly type: string;
      readonly query: string | { readonly query: string };
    }[];
  };
  readonly panels: readonly {
    readonly title: string;
    readonly targets: readonly { readonly expr: string }[];
  }[];
}

const dashboards = readdirSync(`${ADDONS}/grafana`)
  .sort()
  .map((file) => {
    const text = readFileSync(`${ADDONS}/grafana/${file}`, "utf8");
    return { file, text, dashboard: JSON.parse(text) as Dashboard };
  });

interface Query {
  readonly where: string;
  readonly expr: string;
}

/** Every query of a dashboard, its variables' too, as Grafana sends it with these values chosen. */
function queriesOf(
  { title, templating, panels }: Dashboard,
  values: Readonly<Record<string, string>>,
): readonly Query[] {
  const filled = (text: string): string =>
    text.replace(/\$\{?(\w+)\}?/g, (_, name: string) => {
      const value = values[name];
      assert.ok(value !== undefined, `${title}: nothing is known of $${name}`);
      return value;
    });
  const ofVariables = templating.list.flatMap(({ name, type, query }) => {
    if (type !== "query" || typeof query === "string") return [];
    const parts = /^label_values\((.+), (\w+)\)$/.exec(query.query);
    assert.ok(parts !== null, `${title}: $${name}: ${query.query}`);
    const [, series = "", label = ""] = parts;
    const expr = `count(${filled(series)}) by (${label}) and on(${label}) count(${filled(series.replace(/\{.*/, ""))}{${label}="${values[name]}"}) by (${label})`;
    return [{ where: `${title}: $${name}`, expr }];
  });
  const ofPanels = panels.flatMap((panel) =>
    panel.targets.map(({ expr }) => ({ where: `${title}: ${panel.title}`, expr: filled(expr) })),
  );
  return [...ofVariables, ...ofPanels];
}

test("Grafana's manifest provisions every dashboard, as it is in its file", () => {
  const objects = parseAllDocuments(readFileSync(`${ADDONS}/grafana.yaml`, "utf8")).map(
    (document) => document.toJS() as { metadata: { name: string }; data?: Record<string, string> },
  );
  const provisioned = objects.find(({ metadata }) => metadata.name === "grafana-dashboards")?.data;
  assert.deepEqual(
    provisioned,
    Object.fromEntries(dashboards.map(({ file, text }) => [file, text])),
    "run scripts/generate-dashboards.ts",
  );
  assert.deepEqual(
    dashboards.map(({ file }) => file),
    ["canary", "control-plane", "mesh", "proxy", "service", "workload"].map((n) => `${n}.json`),
  );
  assert.equal(new Set(dashboards.map(({ dashboard }) => dashboard.uid)).size, dashboards.length);
});

/** A few answers of 5xx. */
const FAULT = `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: details }
spec:
  hosts: [details]
  http:
  - fault: { abort: { percentage: { value: 20 }, httpStatus: 500 } }
    route: [{ destination: { host: details } }]
`;

/** A server of plain TCP in the mesh: it sends back what it is sent. */
const ECHO = `
apiVersion: v1
kind: Service
metadata: { name: echo }
spec:
  ports: [{ name: tcp, port: 7000 }]
  selector: { app: echo }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: echo }
spec:
  selector: { matchLabels: { app: echo } }
  template:
    metadata: { labels: { app: echo, version: v1 } }
    spec:
      containers:
      - name: echo
        image: example.com/echo:1
        command: [node, -e, 'require("node:net").createServer((s) => s.on("error", () => {}).pipe(s)).listen(7000, process.env.HOST)']
        ports: [{ containerPort: 7000 }]
`;

test("every query of every dashboard has data in a Prometheus that scrapes a mesh with a rollout", {
  skip: skipWithout("kubectl") || skipWithout("prometheus"),
  timeout: 300_000,
}, async (t) => {
  const dataDir = temporary();
  const kubectl = kubectlOf(dataDir);
  await up(t, dataDir);
  const applyText = async (text: string): Promise<void> => {
    const file = join(dataDir, "applied.yaml");
    writeFileSync(file, text);
    await kubectl("apply", "-f", file);
  };
  await serin(dataDir, "install", "-y");
  const prometheus = readFileSync(`${ADDONS}/prometheus.yaml`, "utf8");
  // As it is, but for the interval: a rollout here is over before a few of 15 s.
  await applyText(prometheus.replace("scrape_interval: 15s", "scrape_interval: 1s"));
  await kubectl("label", "namespace", "default", "istio-injection=enabled");
  for (const name of ["productpage", "ratings", "details", "gateway"]) {
    await kubectl("apply", "-f", `examples/bookinfo/${name}.yaml`);
  }
  await applyText(ECHO);
  const canary = readFileSync("examples/canaries/reviews.yaml", "utf8");
  await applyText(canary);
  for (const name of ["productpage-v1", "ratings-v1", "details-v1", "echo"]) {
    await kubectl("rollout", "status", `deployment/${name}`, "--timeout=120s");
  }
  const system = ["-n", "istio-system"];
  await kubectl(...system, "rollout", "status", "deployment/prometheus", "--timeout=120s");
  const phase = (): Promise<string> =>
    kubectl("get", "canary", "reviews", "-o", "jsonpath={.status.phase}");
  await eventually("the canary is initialized", async () => (await phase()) === "Initialized");

  const address = await kubectl(
    ...[...system, "get", "pods", "-l", "app=prometheus"],
    ...["-o", "jsonpath={.items[0].status.podIP}"],
  );
  const ask = async <T>(path: string): Promise<T | undefined> => {
    const response = await fetch(`http://${address}:9090/api/v1/${path}`).catch(() => undefined);
    if (response === undefined || response.status === 503) return undefined;
    const body = (await response.json()) as { status: string; error?: string; data: T };
    assert.equal(body.status, "success", `${decodeURIComponent(path)}: ${body.error}`);
    return body.data;
  };

  await t.test("the API takes every addon's manifest", async () => {
    const said = await kubectl("apply", "--dry-run=server", "-f", ADDONS);
    for (const name of ["grafana", "jaeger", "otel-collector", "elasticsearch"]) {
      assert.match(said, new RegExp(`^deployment.apps/${name} created \\(server dry run\\)$`, "m"));
    }
  });

  await t.test("proxies, gateways, control plane and controller are scraped", async () => {
    interface Targets {
      readonly activeTargets: readonly {
        readonly labels: Readonly<Record<string, string>>;
        readonly health: string;
        readonly lastError: string;
      }[];
    }
    let seen = "";
    await eventually("all targets are up", async () => {
      const targets = (await ask<Targets>("targets?state=active"))?.activeTargets ?? [];
      seen = JSON.stringify(targets.map(({ labels, lastError }) => ({ ...labels, lastError })));
      const has = (job: string, app?: string): boolean =>
        targets.some(
          ({ labels, health }) =>
            labels["job"] === job &&
            (app === undefined || labels["app"] === app) &&
            health === "up",
        );
      return (
        ["productpage", "reviews-primary", "ratings", "echo", "istio-ingressgateway"].every((app) =>
          has("mesh-proxies", app),
        ) &&
        has("control-plane") &&
        has("controller")
      );
    }).catch((error: unknown) => {
      throw new Error(`${String(error)}: ${seen}`);
    });
  });

  await t.test("every query of every dashboard has data", async () => {
    const service = [...system, "get", "service", "istio-ingressgateway", "-o"];
    const port = await kubectl(...service, 'jsonpath={.spec.ports[?(@.name=="http2")].nodePort}');
    const pod = await kubectl(
      ...["get", "pods", "-l", "app=productpage"],
      ...["-o", "jsonpath={.items[0].metadata.name}"],
    );
    const echo = await podIp(kubectl, "echo");
    const traffic = async (): Promise<void> => {
      const paths = [...Array.from({ length: 8 }, () => "/productpage"), "/nothing"];
      const get = (path: string) => fetch(`http://127.0.0.1:${port}${path}`);
      const all = paths.map((path) => get(path).then((response) => response.text()));
      await Promise.allSettled([...all, sendTcp(echo, 7000)]);
    };
    const values = {
      ...{ __rate_interval: "1m", namespace: "default", canary: "reviews", pod },
      // What Grafana calls it, and what productpage does.
      ...{ workload: "productpage-v1", service: "details.default.svc.cluster.local" },
    };
    const missing = new Map(
      dashboards
        .flatMap(({ dashboard }) => queriesOf(dashboard, values))
        .map((query) => [`${query.where}: ${query.expr}`, query.expr]),
    );
    assert.ok(missing.size > 100, `${missing.size} queries`);
    await eventually("the first page is shown", async () => {
      const page = await fetch(`http://127.0.0.1:${port}/productpage`).catch(() => undefined);
      return page?.status === 200;
    });
    await kubectl(
      ...["set", "image", "deployment/reviews"],
      "reviews=docker.io/istio/examples-bookinfo-reviews-v2:1.17.0",
    );
    // A page without details is still a page: the rollout goes on.
    await applyText(FAULT);
    interface Vector {
      readonly result: readonly { readonly value: readonly [number, string] }[];
    }
    await eventually("every query has had data", async () => {
      await traffic();
      for (const [key, expr] of missing) {
        const answer = await ask<Vector>(`query?query=${encodeURIComponent(expr)}`);
        const hasData = answer?.result.some(({ value }) => Number.isFinite(Number(value[1])));
        if (hasData === true) missing.delete(key);
      }
      return missing.size === 0;
    }).catch((error: unknown) => {
      throw new Error(`${String(error)}; without data:\n${[...missing.keys()].join("\n")}`);
    });
  });
});

/** Sends a line to a TCP server and waits for it to come back. */
function sendTcp(host: string, port: number): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const socket = connect(port, host, () => socket.write("echo\n"));
  socket.setTimeout(5000, () => socket.destroy(new Error("no answer")));
  socket.on("error", reject).on("close", () => resolve());
  socket.once("data", () => socket.end());
  return promise;
}
