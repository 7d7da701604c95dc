import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { eventually, kubectlOf, podIp, temporary, up } from "../support/serin-cluster.ts";
import { skipWithout } from "../support/tools.ts";

const RULES = `apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: reviews, namespace: default }
spec:
  host: reviews
  subsets: [{ name: v1, labels: { version: v1 } }]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: reviews, namespace: default }
spec:
  hosts: [reviews]
  http: [{ route: [{ destination: { host: reviews, subset: v1 } }] }]
`;

test("serin proxy-config shows what the proxy of a pod with traffic runs with", {
  skip: skipWithout("kubectl"),
  timeout: 300_000,
}, async (t) => {
  const dataDir = temporary();
  const kubectl = kubectlOf(dataDir);
  await up(t, dataDir);
  const serin = (...args: string[]) =>
    spawnSync(
      process.execPath,
      ["bin/serin.mjs", "proxy-config", ...args, "--kubeconfig", `${dataDir}/kubeconfig`],
      { encoding: "utf8", timeout: 60_000 },
    );
  await kubectl("label", "namespace", "default", "istio-injection=enabled");
  for (const name of ["reviews", "ratings", "productpage"]) {
    await kubectl("apply", "-f", `examples/bookinfo/${name}.yaml`);
  }
  const rules = join(dataDir, "rules.yaml");
  writeFileSync(rules, RULES);
  await kubectl("apply", "-f", rules);
  for (const name of ["productpage-v1", "reviews-v1", "ratings-v1"]) {
    await kubectl("rollout", "status", `deployment/${name}`, "--timeout=90s");
  }
  const url = `http://${await podIp(kubectl, "productpage")}:9080/api/v1/products/0/reviews`;
  await eventually("a request goes through both sidecars", async () =>
    fetch(url).then(
      (response) => response.text().then(() => response.ok),
      () => false,
    ),
  );
  const path = "jsonpath={.items[0].metadata.name}";
  const pod = (await kubectl("get", "pods", "-l", "app=productpage", "-o", path)).trim();
  const reviews = await podIp(kubectl, "reviews");
  const host = "reviews.default.svc.cluster.local";

  await eventually("the DestinationRule has reached the proxy", async () =>
    serin("clusters", pod, "--subset", "v1").stdout.includes(host),
  );
  const clusters = serin("clusters", `${pod}.default`, "--fqdn", host, "--direction", "outbound");
  assert.equal(clusters.status, 0, clusters.stderr);
  const [header, ...lines] = clusters.stdout.trim().split("\n");
  assert.match(header ?? "", /^SERVICE FQDN +PORT +SUBSET +DIRECTION +TYPE +DESTINATION RULE$/);
  assert.equal(lines.length, 2, clusters.stdout);
  assert.match(lines[0] ?? "", /^reviews\.default\.svc\.cluster\.local +9080 +- +outbound +EDS/);
  assert.match(lines[1] ?? "", / 9080 +v1 +outbound +EDS/);

  const json = JSON.parse(serin("c", pod, "--subset", "v1", "-o", "json").stdout);
  assert.deepEqual(
    json.map((each: { name: string }) => each.name),
    [`outbound|9080|v1|${host}`],
  );

  const listeners = serin("listeners", pod, "--port", "15001");
  assert.match(listeners.stdout, /^ADDRESSES +PORT +MATCH +DESTINATION\n/);
  assert.match(listeners.stdout, /^127\.\S+ +15001 +ALL +Route: http_proxy$/m);
  assert.equal(serin("listeners", pod, "--port", "1").stdout.trim().split("\n").length, 1);

  const routes = serin("routes", pod, "--name", "http_proxy").stdout;
  assert.match(routes, /^NAME +VHOST NAME +DOMAINS +MATCH +VIRTUAL SERVICE\n/);
  assert.match(
    routes,
    /^http_proxy +reviews\.default\.svc\.cluster\.local:9080 .* reviews\.default$/m,
  );

  const endpoints = serin("endpoints", pod, "--cluster", `outbound|9080|v1|${host}`).stdout;
  const escaped = reviews.replaceAll(".", "\\.");
  assert.match(
    endpoints,
    new RegExp(`^${escaped}:9080 +HEALTHY +OK +outbound\\|9080\\|v1\\|`, "m"),
  );

  const secrets = serin("secrets", pod).stdout;
  assert.match(secrets, /^default +Cert Chain +ACTIVE +true +[0-9a-f]+ +20\S+Z +20\S+Z$/m);
  assert.match(secrets, /^ROOTCA +CA +ACTIVE +true /m);
  const shown = JSON.parse(serin("secrets", pod, "-o", "json").stdout);
  const key = shown.find((each: { name: string }) => each.name === "default").secret.tls_certificate
    .private_key;
  assert.equal(Buffer.from(key.inline_bytes, "base64").toString(), "[redacted]");

  const bootstrap = JSON.parse(serin("bootstrap", pod).stdout);
  assert.match(bootstrap.bootstrap.node.id, new RegExp(`^sidecar~.*~${pod}\\.default~`));

  assert.match(serin("log", pod, "--level", "debug").stdout, /proxy: debug/);
  assert.match(serin("log", pod).stdout, /proxy: debug/);
  assert.equal(serin("log", pod, "--level", "loud").status, 1);

  const all = JSON.parse(serin("all", pod, "-o", "json").stdout);
  assert.deepEqual(Object.keys(all), ["listeners", "routes", "clusters", "endpoints", "secrets"]);

  const missing = serin("clusters", "nobody.shop");
  assert.equal(missing.status, 1);
  assert.match(missing.stderr, /there is no pod nobody in namespace shop/);
});

for (const [args, message] of [
  [[], /what to show is missing/],
  [["nonsense", "p"], /unknown kind "nonsense"/],
  [["clusters"], /give either a pod/],
  [["clusters", "p", "-o", "xml"], /--output must be table, json, yaml/],
  [["clusters", "--file", "/does/not/exist"], /cannot read \/does\/not\/exist/],
  [["clusters", "--file", "package.json"], /package\.json is no config_dump/],
] as const) {
  test(`wrong usage exits 2: serin proxy-config ${args.join(" ")}`, () => {
    const { status, stderr } = spawnSync(
      process.execPath,
      ["bin/serin.mjs", "proxy-config", ...args],
      { encoding: "utf8", timeout: 60_000 },
    );
    assert.equal(status, 2, stderr);
    assert.match(stderr, message);
  });
}
