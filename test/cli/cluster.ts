import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import type { TestContext } from "node:test";
import { allCustomResourceDefinitions, type KubeObject, RESOURCES } from "../../src/api/index.ts";
import { createClientStore } from "../../src/kube/index.ts";
import type { KubeStore } from "../../src/kube/store.ts";
import { eventually, startTestServer } from "../embedded/api-server/test-server.ts";

/** A real API server that knows Canaries, and how to speak to it. */
export interface TestCluster {
  readonly store: KubeStore;
  readonly kubeconfigPath: string;
  /** The API server goes away; the kubeconfig stays. */
  stop(): Promise<void>;
}

export async function startCluster(t: TestContext): Promise<TestCluster> {
  const { api } = await startTestServer(t);
  const { kubeconfigPath } = api;
  const store = createClientStore({ kubeconfigPath });
  for (const definition of allCustomResourceDefinitions()) {
    await store.create(RESOURCES.customResourceDefinition, definition as unknown as KubeObject);
  }
  await eventually("the API serves Canaries", () =>
    store.list(RESOURCES.canary).then(
      () => true,
      () => false,
    ),
  );
  return { store, kubeconfigPath, stop: () => api.stop() };
}

export function canaryObject(
  name: string,
  namespace = "default",
  labels: Readonly<Record<string, string>> = {},
): KubeObject {
  return {
    apiVersion: "serin.dev/v1",
    kind: "Canary",
    metadata: { name, namespace, labels },
    spec: {
      targetRef: { apiVersion: "apps/v1", kind: "Deployment", name },
      service: { port: 80 },
      analysis: { interval: "10s", threshold: 2, stepWeights: [10, 50] },
    },
  };
}

/** Writes the status that the controller would. */
export async function setStatus(
  { store }: TestCluster,
  name: string,
  phase: string,
  canaryWeight: number,
): Promise<void> {
  const key = { namespace: "default", name };
  const lastTransitionTime = "2026-01-02T03:04:05Z";
  const status = { phase, canaryWeight, failedChecks: 1, lastTransitionTime };
  const object = await store.get(RESOURCES.canary, key);
  if (object === undefined) throw new Error(`no canary ${name}`);
  await store.update(RESOURCES.canary, { ...object, status }, { subresource: "status" });
}

export interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Running {
  readonly child: ChildProcess;
  stdout(): string;
  readonly done: Promise<Ran>;
}

/** Starts a program; the test's end kills it if it still runs. */
export function start(
  t: TestContext,
  program: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
): Running {
  const child = spawn(program, args, { env, stdio: ["ignore", "pipe", "pipe"] });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  const done = once(child, "close").then(
    ([code]): Ran => ({ code: code as number | null, stdout, stderr }),
  );
  t.after(async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
    await done;
  });
  return { child, stdout: () => stdout, done };
}

/** `serin ARGS` as a process of its own. */
export function serin(
  t: TestContext,
  args: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
): Running {
  return start(t, process.execPath, ["bin/serin.mjs", ...args], env);
}
