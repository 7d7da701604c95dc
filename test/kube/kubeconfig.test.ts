import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { type TestContext, test } from "node:test";
import { readKubeconfig } from "../../src/kube/kubeconfig.ts";

function directory(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), "serin-kubeconfig-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

function write(path: string, content: object | string): string {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, typeof content === "string" ? content : JSON.stringify(content));
  return path;
}

/** A file with one context, cluster and user of the same name. */
const configOf = (name: string, more: object = {}) => ({
  "current-context": name,
  contexts: [{ name, context: { cluster: name, user: name, namespace: "shop" } }],
  clusters: [{ name, cluster: { server: `https://${name}.test:6443/prefix` } }],
  users: [{ name, user: { token: `token of ${name}` } }],
  preferences: { colors: true },
  ...more,
});

test("the file that is named counts, and its current context", (t) => {
  const dir = directory(t);
  const file = configOf("one");
  const two = configOf("two");
  const path = write(join(dir, "config"), {
    "current-context": "two",
    contexts: [...file.contexts, ...two.contexts],
    clusters: [...file.clusters, ...two.clusters],
    users: [...file.users, ...two.users],
  });
  const env = { KUBECONFIG: "/not/looked/at" };
  assert.equal(readKubeconfig({ path, env }).server, "https://two.test:6443/prefix");
  assert.equal(readKubeconfig({ path, env, context: "one" }).user.token, "token of one");
});

test("files of KUBECONFIG are merged: the first that says something counts, missing ones are skipped", (t) => {
  const dir = directory(t);
  const a = write(join(dir, "a"), {
    contexts: [{ name: "shared", context: { cluster: "one", user: "two" } }],
    users: [{ name: "two", user: { token: "from a" } }],
  });
  const b = write(join(dir, "b"), { ...configOf("one"), "current-context": "shared" });
  const c = write(join(dir, "c"), configOf("two"));
  const env = { KUBECONFIG: [a, "/does/not/exist", "", b, c].join(":") };
  const access = readKubeconfig({ env, home: dir });
  assert.equal(access.server, "https://one.test:6443/prefix");
  assert.equal(access.user.token, "from a");
  assert.equal(readKubeconfig({ env, home: dir, context: "two" }).user.token, "from a");
});

test("without KUBECONFIG ~/.kube/config counts, and before the pod's service account", (t) => {
  const home = directory(t);
  const pod = { KUBERNETES_SERVICE_HOST: "10.96.0.1", KUBERNETES_SERVICE_PORT: "443" };
  const serviceAccountDir = join(home, "serviceaccount");
  write(join(serviceAccountDir, "token"), "t");
  const of = (env: Record<string, string>) => readKubeconfig({ env, home, serviceAccountDir });
  const inPod = of(pod);
  assert.equal(inPod.server, "https://10.96.0.1:443");
  assert.equal(inPod.user.tokenFile, join(serviceAccountDir, "token"));
  assert.equal(inPod.cluster["certificate-authority"], join(serviceAccountDir, "ca.crt"));
  assert.equal(of({ ...pod, KUBERNETES_SERVICE_HOST: "fd00::1" }).server, "https://[fd00::1]:443");
  assert.throws(() => of({}), {
    code: "SERIN_UNREADABLE_INPUT",
    message: `there is no kubeconfig: KUBECONFIG is not set and ${home}/.kube/config does not exist`,
  });
  write(join(home, ".kube/config"), configOf("one"));
  assert.equal(of(pod).server, "https://one.test:6443/prefix");
  assert.throws(() => of({ ...pod, KUBECONFIG: "/nowhere" }), /no such file: \/nowhere/);
});

test("paths are meant from where the file is, not from here", (t) => {
  const dir = directory(t);
  const path = write(join(dir, "sub/config"), {
    ...configOf("one"),
    clusters: [
      { name: "one", cluster: { server: "https://x", "certificate-authority": "../ca.pem" } },
    ],
    users: [
      {
        name: "one",
        user: {
          "client-certificate": "me.pem",
          "client-key": "/abs/key.pem",
          tokenFile: "token",
          exec: { command: "./plugin" },
        },
      },
    ],
  });
  const { cluster, user } = readKubeconfig({ path });
  assert.equal(cluster["certificate-authority"], join(dir, "ca.pem"));
  assert.equal(user["client-certificate"], join(dir, "sub/me.pem"));
  assert.equal(user["client-key"], "/abs/key.pem");
  assert.equal(user.tokenFile, join(dir, "sub/token"));
  assert.equal(user.exec?.command, join(dir, "sub/plugin"));
});

test("a command without a slash is looked for in the PATH", (t) => {
  const users = [{ name: "one", user: { exec: { command: "aws" } } }];
  const path = write(join(directory(t), "config"), { ...configOf("one"), users });
  assert.equal(readKubeconfig({ path }).user.exec?.command, "aws");
});

const WRONG: readonly (readonly [what: string, content: object | string, message: RegExp])[] = [
  ["no YAML", "a: [", /cannot read the kubeconfig .*config: /],
  ["nothing", "", /has no current-context/],
  ["a list", "[]", /expected object/],
  [
    "a field of the wrong kind",
    configOf("one", { users: [{ name: "one", user: { token: 7 } }] }),
    /users\[0\]\.user\.token: .*expected string/,
  ],
  [
    "a context that is not there",
    configOf("one", { "current-context": "two" }),
    /has no context "two" \(found one\)/,
  ],
  ["no cluster", configOf("one", { clusters: null }), /names no cluster that there is \(one\)/],
  ["no user", configOf("one", { users: [] }), /names no user that there is \(one\)/],
  [
    "a server that is no URL",
    configOf("one", { clusters: [{ name: "one", cluster: { server: "one.test" } }] }),
    /server must be an http or https URL \(found "one\.test"\)/,
  ],
];
for (const [what, content, message] of WRONG) {
  test(`refuses ${what}, and says where`, (t) => {
    const path = write(join(directory(t), "config"), content);
    assert.throws(() => readKubeconfig({ path }), { code: "SERIN_UNREADABLE_INPUT", message });
  });
}

test("a context without a user is one who proves nothing", (t) => {
  const contexts = [{ name: "one", context: { cluster: "one" } }];
  const path = write(join(directory(t), "config"), { ...configOf("one"), contexts });
  assert.equal(readKubeconfig({ path }).user.token, undefined);
});
