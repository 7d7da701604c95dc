import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { KubeObject } from "../../../src/api/index.ts";
import { injectPod, type PatchOperation } from "../../../src/mesh/core/injection-patch.ts";
import { sidecarBootstrap } from "../../../src/proxy/index.ts";

const SETTINGS = {
  proxyImage: "docker.io/serin/proxy:0.1.0",
  xdsAddress: "127.0.0.1:15010",
  interceptionMode: "NONE",
  clusterId: "Kubernetes",
  audience: "istio-ca",
} as const;
const ENABLED = { name: "default", labels: { "istio-injection": "enabled" } };

interface Options {
  readonly labels?: Record<string, string>;
  readonly annotations?: Record<string, string>;
  readonly spec?: object;
  readonly owner?: { readonly kind: string; readonly name: string };
}

const pod = (options: Options = {}): KubeObject => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: {
    name: "web",
    ...(options.labels === undefined ? {} : { labels: options.labels }),
    ...(options.annotations === undefined ? {} : { annotations: options.annotations }),
    ...(options.owner === undefined
      ? {}
      : {
          ownerReferences: [
            { apiVersion: "apps/v1", ...options.owner, uid: "u", controller: true },
          ],
        }),
  },
  spec: { containers: [{ name: "web", image: "web" }], ...options.spec },
});

/** The operations on top-level fields, done. */
function patched(object: KubeObject, patch: readonly PatchOperation[]): KubeObject {
  const copy = structuredClone(object) as unknown as Record<string, Record<string, unknown>>;
  for (const { path, value } of patch) {
    const [, area = "", field = ""] = path.split("/");
    copy[area] = { ...copy[area], [field]: value };
  }
  return copy as unknown as KubeObject;
}

function injected(
  object: KubeObject,
  namespace: Parameters<typeof injectPod>[1] = ENABLED,
): KubeObject {
  const result = injectPod(object, namespace, SETTINGS);
  assert.ok(result.kind === "inject", result.kind === "skip" ? result.reason : "");
  return patched(object, result.patch);
}

type Container = { readonly name: string; readonly env?: readonly Record<string, unknown>[] };
const containersOf = (object: KubeObject): readonly Container[] =>
  (object["spec"] as { readonly containers: readonly Container[] }).containers;

const label = (value: string) => ({ labels: { "sidecar.istio.io/inject": value } });
const annotation = (value: string) => ({ annotations: { "sidecar.istio.io/inject": value } });
const PRECEDENCE: readonly (readonly [string, Record<string, string>, Options, boolean])[] = [
  ["an enabled namespace", { "istio-injection": "enabled" }, {}, true],
  ["a namespace that says nothing", {}, {}, false],
  [
    "a disabled namespace, whatever the pod says",
    { "istio-injection": "disabled" },
    label("true"),
    false,
  ],
  ["a pod that asks for it", {}, label("true"), true],
  ["a pod that asks for it by annotation", {}, annotation("true"), true],
  ["a pod that refuses", { "istio-injection": "enabled" }, label("false"), false],
  ["a namespace of this revision", { "istio.io/rev": "default" }, {}, true],
  ["a namespace of another revision", { "istio.io/rev": "canary" }, {}, false],
  [
    "istio-injection over the namespace's revision",
    { "istio-injection": "enabled", "istio.io/rev": "canary" },
    {},
    true,
  ],
  ["a pod of this revision", {}, { labels: { "istio.io/rev": "default" } }, true],
  ["a pod of another revision", {}, { labels: { "istio.io/rev": "canary" } }, false],
  [
    "a pod that refuses in a namespace of this revision",
    { "istio.io/rev": "default" },
    label("false"),
    false,
  ],
  ["a word that is neither true nor false", { "istio-injection": "enabled" }, label("yes"), true],
  [
    "a label over an annotation",
    { "istio-injection": "enabled" },
    { ...label("false"), ...annotation("true") },
    false,
  ],
];
for (const [name, labels, options, isInjected] of PRECEDENCE) {
  test(`precedence: ${name}`, () => {
    const { kind } = injectPod(pod(options), { name: "default", labels }, SETTINGS);
    assert.equal(kind === "inject", isInjected);
  });
}

test("a word that is neither true nor false is said to be one when it decides nothing", () => {
  const result = injectPod(pod(label("yes")), { name: "default", labels: {} }, SETTINGS);
  assert.ok(result.kind === "skip" && result.isWarning);
  assert.match(result.reason, /must be "true" or "false" \(found "yes"\)/);
});

test("nothing in Kubernetes' own namespaces is injected", () => {
  for (const name of ["kube-system", "kube-public", "kube-node-lease", "local-path-storage"]) {
    const { kind } = injectPod(pod(label("true")), { ...ENABLED, name }, SETTINGS);
    assert.equal(kind, "skip", name);
  }
});

test("a pod on the host's network is left alone, with a warning", () => {
  const result = injectPod(pod({ spec: { hostNetwork: true } }), ENABLED, SETTINGS);
  assert.ok(result.kind === "skip" && result.isWarning);
});

test("a pod without containers is the API server's to refuse", () => {
  const result = injectPod(pod({ spec: { containers: undefined } }), ENABLED, SETTINGS);
  assert.equal(result.kind, "skip");
});

test("the sidecar is last, or first when the application waits for it", () => {
  const names = (object: KubeObject) => containersOf(object).map(({ name }) => name);
  assert.deepEqual(names(injected(pod())), ["web", "istio-proxy"]);
  const holds = pod({
    annotations: { "proxy.istio.io/config": "holdApplicationUntilProxyStarts: true" },
  });
  assert.deepEqual(names(injected(holds)), ["istio-proxy", "web"]);
});

test("its environment is what the proxy needs", () => {
  const owner = { kind: "ReplicaSet", name: "web-7d5b8c" };
  const object = injected(pod({ labels: { app: "web", "pod-template-hash": "7d5b8c" }, owner }));
  const fields: Record<string, string> = {
    "metadata.name": "web-7d5b8c-x2x9z",
    "metadata.namespace": "default",
    "status.podIP": "127.16.0.7",
    "status.hostIP": "127.0.0.1",
    "spec.serviceAccountName": "web",
  };
  const sidecar = containersOf(object).find(({ name }) => name === "istio-proxy");
  const env: Record<string, string> = {};
  for (const { name, value, valueFrom } of sidecar?.env ?? []) {
    const path = (valueFrom as { readonly fieldRef?: { readonly fieldPath: string } } | undefined)
      ?.fieldRef?.fieldPath;
    env[String(name)] = path === undefined ? String(value) : (fields[path] ?? "");
  }
  const { SERIN_TOKEN_PATH: _, ...withoutToken } = env;
  const { node } = sidecarBootstrap(withoutToken);
  assert.equal(node?.id, "sidecar~127.16.0.7~web-7d5b8c-x2x9z.default~default.svc.cluster.local");
  assert.equal(env["ISTIO_META_WORKLOAD_NAME"], "web");
  assert.match(env["ISTIO_META_OWNER"] ?? "", /apps\/v1\/namespaces\/default\/deployments\/web$/);
});

for (const [kind, name, plural] of [
  ["StatefulSet", "db", "statefulsets/db"],
  ["DaemonSet", "agent", "daemonsets/agent"],
  ["Job", "once", "jobs/once"],
] as const) {
  test(`the owner of a ${kind}'s pod is named as what it is`, () => {
    const object = injected(pod({ owner: { kind, name } }));
    const sidecar = containersOf(object).find((each) => each.name === "istio-proxy");
    const owner = sidecar?.env?.find((each) => each["name"] === "ISTIO_META_OWNER");
    assert.ok(String(owner?.["value"]).endsWith(plural), String(owner?.["value"]));
  });
}

test("labels hold at most 63 characters, whatever the names", () => {
  const object = injected(pod({ owner: { kind: "StatefulSet", name: `${"x".repeat(62)}-y` } }));
  const name = object.metadata.labels?.["service.istio.io/canonical-name"];
  assert.equal(name, "x".repeat(62));
});

test("annotations set image, log level and resources", () => {
  const object = injected(
    pod({
      annotations: {
        "sidecar.istio.io/proxyImage": "my/proxy:1",
        "sidecar.istio.io/logLevel": "debug",
        "sidecar.istio.io/proxyCPU": "200m",
        "sidecar.istio.io/proxyMemoryLimit": "256Mi",
      },
    }),
  );
  const sidecar = containersOf(object).find(({ name }) => name === "istio-proxy") as unknown as {
    readonly image: string;
    readonly args: readonly string[];
    readonly resources: unknown;
  };
  assert.equal(sidecar.image, "my/proxy:1");
  assert.deepEqual(sidecar.args, ["proxy", "sidecar", "--log-level", "debug"]);
  assert.deepEqual(sidecar.resources, {
    requests: { cpu: "200m", memory: "40Mi" },
    limits: { cpu: "2000m", memory: "256Mi" },
  });
});

test("a volume of the token's name is replaced, not doubled", () => {
  const object = injected(pod({ spec: { volumes: [{ name: "istio-token", emptyDir: {} }] } }));
  const { volumes } = object["spec"] as { readonly volumes: readonly { readonly name: string }[] };
  assert.deepEqual(
    volumes.map(({ name }) => name),
    ["istio-token"],
  );
});

const gateway = (own: object): Options => ({
  annotations: { "inject.istio.io/templates": "gateway" },
  spec: { containers: [{ name: "istio-proxy", image: "auto", ...own }] },
});

test("a gateway's pod is its proxy, with what its own container says", () => {
  const object = injected(
    pod(
      gateway({
        ports: [
          { containerPort: 8080, name: "http" },
          { containerPort: 15_090, name: "metrics" },
        ],
        env: [
          { name: "ISTIO_META_CLUSTER_ID", value: "east" },
          { name: "MORE", value: "1" },
        ],
        resources: { requests: { cpu: "1" } },
      }),
    ),
  );
  const containers = containersOf(object);
  assert.equal(containers.length, 1);
  const [proxy] = containers as unknown as readonly [Record<string, unknown>];
  assert.equal(proxy["image"], SETTINGS.proxyImage);
  assert.deepEqual(proxy["args"], ["proxy", "router"]);
  assert.deepEqual(proxy["ports"], [
    { containerPort: 8080, name: "http" },
    { containerPort: 15_090, name: "metrics" },
  ]);
  assert.deepEqual(proxy["resources"], { requests: { cpu: "1" } });
  const env = containers[0]?.env ?? [];
  const named = (name: string) => env.filter((each) => each["name"] === name);
  assert.deepEqual(
    named("ISTIO_META_CLUSTER_ID").map((each) => each["value"]),
    ["east"],
  );
  assert.equal(named("MORE").length, 1);
  assert.equal(named("ISTIO_META_HTTP_PROXY_PORT").length, 0, "no application to speak of");
  assert.equal(injectPod(object, ENABLED, SETTINGS).kind, "skip", "only once");
});

test("an application's pod may say what its sidecar has differently", () => {
  const own = { name: "istio-proxy", image: "auto", terminationMessagePath: "/x" };
  const object = injected(pod({ spec: { containers: [own, { name: "web" }] } }));
  const containers = containersOf(object) as unknown as readonly Record<string, unknown>[];
  assert.deepEqual(
    containers.map((each) => each["name"]),
    ["web", "istio-proxy"],
  );
  assert.equal(containers[1]?.["terminationMessagePath"], "/x");
  assert.deepEqual(containers[1]?.["args"], ["proxy", "sidecar"]);
});

test("an unknown template is said, and nothing is injected", () => {
  const options = { annotations: { "inject.istio.io/templates": "grpc-simple" } };
  const result = injectPod(pod(options), ENABLED, SETTINGS);
  assert.ok(result.kind === "skip" && result.isWarning);
  assert.match(result.reason, /"grpc-simple"; sidecar and gateway are known/);
});

test("property: injecting an injected pod changes nothing", () => {
  const words = fc.dictionary(fc.constantFrom("app", "version", "tier"), fc.constantFrom("a", "b"));
  fc.assert(
    fc.property(words, words, fc.nat(3), (labels, annotations, count) => {
      const containers = Array.from({ length: count + 1 }, (_, i) => ({ name: `c${i}` }));
      const once = injected(pod({ labels, annotations, spec: { containers } }));
      assert.equal(injectPod(once, ENABLED, SETTINGS).kind, "skip");
    }),
  );
});

/** What a pod becomes whose traffic is redirected. */
function redirected(object: KubeObject): KubeObject {
  const settings = { ...SETTINGS, interceptionMode: "REDIRECT" } as const;
  const result = injectPod(object, ENABLED, settings);
  assert.ok(result.kind === "inject");
  return patched(object, result.patch);
}
const initContainers = (object: KubeObject) =>
  ((object["spec"] as { initContainers?: unknown }).initContainers ?? []) as {
    readonly name: string;
    readonly image: string;
    readonly args: readonly string[];
    readonly securityContext: Readonly<Record<string, unknown>>;
  }[];

test("a pod whose traffic is redirected gets istio-init, last of its init containers", () => {
  const own = { name: "own", image: "own" };
  const object = redirected(pod({ spec: { initContainers: [own] } }));
  const [first, init] = initContainers(object);
  assert.deepEqual(first, own);
  assert.equal(init?.name, "istio-init");
  assert.equal(init.image, SETTINGS.proxyImage);
  assert.equal(
    init.args.join(" "),
    "init -p 15001 -z 15006 -u 1337 -m REDIRECT -i * -b * -d 15090,15021,15020",
  );
  assert.deepEqual(init.securityContext["capabilities"], {
    add: ["NET_ADMIN", "NET_RAW"],
    drop: ["ALL"],
  });
  assert.equal(init.securityContext["runAsUser"], 0);
  const status = object.metadata.annotations?.["sidecar.istio.io/status"] ?? "";
  assert.deepEqual(JSON.parse(status).initContainers, ["istio-init"]);
  assert.deepEqual(initContainers(injected(pod())), [], "where nothing is redirected");
});

test("annotations say what is not to be redirected", () => {
  const prefix = "traffic.sidecar.istio.io/";
  const annotations = {
    [`${prefix}includeOutboundIPRanges`]: "10.0.0.0/8",
    [`${prefix}excludeOutboundIPRanges`]: "10.1.0.0/16",
    [`${prefix}includeInboundPorts`]: "80,81",
    [`${prefix}excludeInboundPorts`]: "82, 83",
    [`${prefix}includeOutboundPorts`]: "5",
    [`${prefix}excludeOutboundPorts`]: "6",
    [`${prefix}kubevirtInterfaces`]: "tap0",
    [`${prefix}excludeInterfaces`]: "eth1",
  };
  const [init] = initContainers(redirected(pod({ annotations })));
  assert.equal(
    init?.args.join(" "),
    "init -p 15001 -z 15006 -u 1337 -m REDIRECT -i 10.0.0.0/8 -x 10.1.0.0/16 -b 80,81 -q 5 -o 6 " +
      "-k tap0 -c eth1 -d 15090,15021,15020,82,83",
  );
});

test("a gateway's traffic is not redirected", () => {
  const annotations = { "inject.istio.io/templates": "gateway" };
  assert.deepEqual(initContainers(redirected(pod({ annotations }))), []);
});

const ENVOY = { "proxy.serin.dev/engine": "envoy" };
for (const [where, object, namespace] of [
  ["a pod's annotation", pod({ annotations: ENVOY }), ENABLED],
  ["its namespace's label", pod(), { ...ENABLED, labels: { ...ENABLED.labels, ...ENVOY } }],
] as const) {
  test(`${where} makes the sidecar real Envoy, with a place to write`, () => {
    const spec = injected(object, namespace)["spec"] as {
      containers: { name: string; args: string[]; volumeMounts: { mountPath: string }[] }[];
      volumes: object[];
    };
    const proxy = spec.containers.find(({ name }) => name === "istio-proxy");
    assert.deepEqual(proxy?.args, ["proxy", "sidecar", "--engine", "envoy"]);
    assert.ok(proxy.volumeMounts.some(({ mountPath }) => mountPath === "/etc/istio/proxy"));
    assert.deepEqual(spec.volumes.at(-1), { name: "istio-envoy", emptyDir: { medium: "Memory" } });
  });
}

test("the pod's engine beats its namespace's, and an unknown one is refused aloud", () => {
  const labels = { ...ENABLED.labels, ...ENVOY };
  const own = { "proxy.serin.dev/engine": "serin" };
  const spec = injected(pod({ annotations: own }), { ...ENABLED, labels })["spec"];
  assert.doesNotMatch(JSON.stringify(spec), /--engine/);
  const unknown = pod({ annotations: { "proxy.serin.dev/engine": "nginx" } });
  const result = injectPod(unknown, ENABLED, SETTINGS);
  assert.ok(result.kind === "skip" && result.isWarning);
  assert.match(result.reason, /"nginx"; serin and envoy are known/);
});
