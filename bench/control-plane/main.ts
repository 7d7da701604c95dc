/**
 * `node bench/control-plane/main.ts [--services N] [--proxies N] [--rounds N] [--scenario all,scoped]
 * [--only serin,go-control-plane] [--report FILE]`
 *
 * A mesh in the embedded API server, the control plane as a process of its own, and as many light
 * clients with ADS streams of their own in two more. Measured: the full start (process start to the
 * last stream having everything), the memory, and how long a change in the API takes to reach the
 * last proxy. Beside it go-control-plane with the same resources for the same clients; it has no API
 * to read, so its changes start at its own control port. Needs Linux and Go. Results go to
 * `bench/results/control-plane.{json,md}`.
 */
import { type ChildProcess, execFileSync, fork, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { RESOURCES } from "../../src/api/index.ts";
import { startApiServer } from "../../src/embedded/api-server/index.ts";
import { createClientStore } from "../../src/kube/index.ts";
import type { KubeStore } from "../../src/kube/store.ts";
import { createLogger, systemClock } from "../../src/runtime/index.ts";
import { ENDPOINT_TYPE, ROUTE_TYPE } from "../../src/xds/index.ts";
import type { ClientsCommand, ClientsReport } from "./clients.ts";
import { bodyOf } from "./delta-wire.ts";
import { LightClient } from "./light-client.ts";
import {
  createMesh,
  NAMESPACES,
  namespaceOf,
  PORT,
  proxyOf,
  routeSpec,
  TARGET,
  TARGET_HOST,
} from "./mesh.ts";

const PROCESSES = 2;
const PATIENCE_MS = 240_000;
/** Between changes, so that one does not wait for what the one before left behind. */
const PAUSE_MS = 1000;

const { values } = parseArgs({
  options: {
    services: { type: "string", default: "1000" },
    proxies: { type: "string", default: "1000" },
    rounds: { type: "string", default: "10" },
    scenario: { type: "string", default: "all,scoped" },
    only: { type: "string", default: "serin,go-control-plane" },
    report: { type: "string", default: join(import.meta.dirname, "../results/control-plane") },
  },
});
const services = Number(values.services);
const proxies = Number(values.proxies);
const rounds = Number(values.rounds);
const only = values.only.split(",");

/** What one control plane did in one scenario; times in ms. */
interface Result {
  readonly contender: string;
  readonly scenario: string;
  readonly startMs: number;
  readonly rssMb: number;
  readonly peakRssMb: number;
  readonly endpointMs: readonly number[];
  readonly weightMs: readonly number[];
  readonly endpointBytes: number;
  readonly weightBytes: number;
}

/** A started control plane. */
interface Plane {
  readonly process: ChildProcess;
  changeEndpoint(address: string): Promise<void>;
  changeWeight(weight: number, marker: string): Promise<void>;
}

const dir = mkdtempSync(join(tmpdir(), "serin-bench-control-plane-"));
const children = new Set<ChildProcess>();
const results: Result[] = [];
try {
  for (const scenario of values.scenario.split(",")) await runScenario(scenario);
  write();
} finally {
  for (const child of children) child.kill("SIGKILL");
  rmSync(dir, { recursive: true, force: true });
}
process.exit(0);

async function runScenario(scenario: string): Promise<void> {
  const dataDir = join(dir, scenario);
  mkdirSync(dataDir);
  const logger = createLogger("bench", "silent");
  const server = await startApiServer({ dataDir, port: 0, logger, clock: systemClock });
  const store = createClientStore({ kubeconfigPath: server.kubeconfigPath });
  console.log(`${scenario}: writing ${services} services to the API`);
  await createMesh(store, services, scenario === "scoped");
  const resources = join(dir, `${scenario}.json`);
  if (only.includes("serin")) {
    results.push(
      await measure(
        "serin",
        scenario,
        (port) => startSerin(server.kubeconfigPath, store, port),
        resources,
      ),
    );
  }
  if (only.includes("go-control-plane")) {
    const binary = buildYardstick();
    if (binary !== undefined) {
      const start = (port: number) => startYardstick(binary, resources, scenario, port);
      results.push(await measure("go-control-plane", scenario, start, undefined));
    }
  }
  await server.stop();
}

async function measure(
  contender: string,
  scenario: string,
  start: (port: number) => Promise<Plane>,
  dumpTo: string | undefined,
): Promise<Result> {
  const port = await freePort();
  const groups = await Promise.all(Array.from({ length: PROCESSES }, () => startClients()));
  const complete = groups.map((group) => reportOf(group, "complete"));
  const share = Math.ceil(proxies / PROCESSES);
  for (const [i, group] of groups.entries()) {
    tell(group, { kind: "start", port, from: i * share, to: Math.min(proxies, (i + 1) * share) });
  }
  const startNs = process.hrtime.bigint();
  const plane = await start(port);
  const startMs = msSince(startNs, await lastOf(complete));
  if (dumpTo !== undefined) await dump(port, dumpTo);
  await sleep(PAUSE_MS);
  const { pid } = plane.process;
  const only = scenario === "scoped" ? TARGET.namespace : undefined;
  const change = async (
    awaited: { typeUrl: string; name: string; marker: string },
    act: () => Promise<void>,
  ) => {
    await Promise.all(
      groups.map((group) => {
        const isWaiting = reportOf(group, "waiting");
        tell(group, { kind: "await", ...awaited, namespace: only });
        return isWaiting;
      }),
    );
    const reached = groups.map((group) => reportOf(group, "reached"));
    const beganNs = process.hrtime.bigint();
    await act();
    const reports = await within(Promise.all(reached), JSON.stringify(awaited));
    const ms = msSince(beganNs, latest(reports));
    await sleep(PAUSE_MS);
    return { ms, bytes: reports.reduce((sum, each) => sum + each.bytes, 0) };
  };
  const endpointMs: number[] = [];
  const weightMs: number[] = [];
  let endpointBytes = 0;
  let weightBytes = 0;
  for (let round = 1; round <= rounds; round += 1) {
    const address = `10.200.0.${round}`;
    const cluster = `outbound|${PORT}||${TARGET_HOST}`;
    const endpoint = await change({ typeUrl: ENDPOINT_TYPE, name: cluster, marker: address }, () =>
      plane.changeEndpoint(address),
    );
    const marker = `marker-${round}-`;
    const weight = await change({ typeUrl: ROUTE_TYPE, name: "http_proxy", marker }, () =>
      plane.changeWeight(round * 5, marker),
    );
    endpointMs.push(endpoint.ms);
    weightMs.push(weight.ms);
    endpointBytes = endpoint.bytes;
    weightBytes = weight.bytes;
    console.log(
      `${contender} ${scenario} round ${round}: endpoint ${endpoint.ms.toFixed(0)} ms, weight ${weight.ms.toFixed(0)} ms`,
    );
  }
  const memory = memoryOf(pid ?? 0);
  for (const child of [plane.process, ...groups]) {
    child.kill("SIGKILL");
    children.delete(child);
  }
  const result = {
    contender,
    scenario,
    startMs,
    ...memory,
    endpointMs,
    weightMs,
    endpointBytes,
    weightBytes,
  };
  console.log(line(result));
  return result;
}

async function startSerin(kubeconfig: string, store: KubeStore, port: number): Promise<Plane> {
  const child = forked("serin.ts", [kubeconfig, String(port)]);
  await within(once(child, "message"), "the control plane's start");
  const { namespace } = TARGET;
  const { items } = await store.list(RESOURCES.endpointSlice, { namespace });
  const slice = items.find(
    ({ metadata }) => metadata.labels?.["kubernetes.io/service-name"] === TARGET.name,
  );
  if (slice === undefined) throw new Error("no slice");
  const key = { namespace, name: slice.metadata.name };
  return {
    process: child,
    async changeEndpoint(address) {
      const endpoints = structuredClone(slice["endpoints"]) as { addresses: string[] }[];
      const last = endpoints.at(-1);
      if (last !== undefined) last.addresses = [address];
      await store.patch(RESOURCES.endpointSlice, key, { endpoints }, { kind: "merge" });
    },
    async changeWeight(weight, marker) {
      const spec = routeSpec(weight, marker);
      await store.patch(RESOURCES.virtualService, TARGET, { spec }, { kind: "merge" });
    },
  };
}

async function startYardstick(
  binary: string,
  resources: string,
  scenario: string,
  port: number,
): Promise<Plane> {
  const child = spawn(binary, [resources, String(port)], { stdio: ["ignore", "pipe", "inherit"] });
  children.add(child);
  const [text] = await within(once(child.stdout, "data"), "the yardstick's start");
  const url = `http://127.0.0.1:${String(text).trim()}/`;
  const all = Array.from({ length: NAMESPACES }, (_, i) => namespaceOf(i));
  const namespaces = scenario === "scoped" ? [TARGET.namespace] : all;
  const post = async (change: object): Promise<void> => {
    const response = await fetch(url, {
      method: "POST",
      body: JSON.stringify({ namespaces, ...change }),
    });
    if (!response.ok) throw new Error(await response.text());
  };
  return {
    process: child,
    changeEndpoint: (address) => post({ cluster: `outbound|${PORT}||${TARGET_HOST}`, address }),
    changeWeight: (weight, marker) =>
      post({ virtualHost: `${TARGET_HOST}:${PORT}`, weight, marker }),
  };
}

function buildYardstick(): string | undefined {
  const go = ["/usr/local/go/bin/go", "/usr/bin/go"].find(existsSync);
  if (go === undefined) {
    console.log("left out: go-control-plane (no Go)");
    return undefined;
  }
  const binary = join(dir, "yardstick");
  const cwd = join(import.meta.dirname, "yardstick");
  if (!existsSync(binary))
    execFileSync(go, ["build", "-o", binary, "."], { cwd, stdio: "inherit" });
  return binary;
}

/** Writes what a proxy of each namespace is sent: `{namespace: {type: [message in base64]}}`. */
async function dump(port: number, file: string): Promise<void> {
  const all: Record<string, Record<string, string[]>> = {};
  for (let i = 0; i < NAMESPACES; i += 1) {
    const byType: Record<string, string[]> = {};
    const complete = Promise.withResolvers<void>();
    const client = new LightClient({
      ...{ port, ...proxyOf(i), namespace: namespaceOf(i) },
      onComplete: () => complete.resolve(),
      onResources: (typeUrl, resources) => {
        byType[typeUrl] = resources.map((each) => bodyOf(each).toString("base64"));
      },
    });
    await within(complete.promise, "resources to write");
    client.stop();
    all[namespaceOf(i)] = byType;
  }
  writeFileSync(file, JSON.stringify(all));
}

async function startClients(): Promise<ChildProcess> {
  const child = forked("clients.ts", []);
  await reportOf(child, "ready");
  return child;
}

function forked(file: string, args: readonly string[]): ChildProcess {
  const child = fork(join(import.meta.dirname, file), args, { stdio: "inherit" });
  children.add(child);
  return child;
}

function tell(child: ChildProcess, command: ClientsCommand): void {
  child.send(command);
}

type Report<Kind> = Extract<ClientsReport, { kind: Kind }>;

function reportOf<Kind extends ClientsReport["kind"]>(
  child: ChildProcess,
  kind: Kind,
): Promise<Report<Kind>> {
  return new Promise((resolve) => {
    const listen = (report: ClientsReport): void => {
      if (report.kind !== kind) return;
      child.off("message", listen);
      resolve(report as Report<Kind>);
    };
    child.on("message", listen);
  });
}

async function lastOf(reports: readonly Promise<{ readonly atNs: string }>[]): Promise<bigint> {
  return latest(await within(Promise.all(reports), "every stream complete"));
}

function latest(reports: readonly { readonly atNs: string }[]): bigint {
  let last = 0n;
  for (const { atNs } of reports) if (BigInt(atNs) > last) last = BigInt(atNs);
  return last;
}

function msSince(startNs: bigint, endNs: bigint): number {
  return Number(endNs - startNs) / 1e6;
}

async function within<T>(promise: Promise<T>, what: string): Promise<T> {
  const timer = new AbortController();
  const late = sleep(PATIENCE_MS, undefined, { signal: timer.signal }).then(() => {
    throw new Error(`never came: ${what}`);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    timer.abort();
    late.catch(() => {});
  }
}

/** Resident memory now and at its highest, MB (Linux). */
function memoryOf(pid: number): { readonly rssMb: number; readonly peakRssMb: number } {
  const text = readFileSync(`/proc/${pid}/status`, "utf8");
  const mb = (key: string): number =>
    Math.round(Number(new RegExp(`${key}:\\s+(\\d+)`).exec(text)?.[1] ?? 0) / 1024);
  return { rssMb: mb("VmRSS"), peakRssMb: mb("VmHWM") };
}

async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  return typeof address === "object" && address !== null ? address.port : 0;
}

function median(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? Number.NaN;
}

function line(result: Result): string {
  const { endpointMs, weightMs } = result;
  const spread = (all: readonly number[]) =>
    `${median(all).toFixed(0)} / ${Math.max(...all).toFixed(0)}`;
  const mb = (bytes: number) => (bytes / 1e6).toFixed(1);
  return [
    "",
    result.scenario,
    result.contender,
    spread(endpointMs),
    mb(result.endpointBytes),
    spread(weightMs),
    mb(result.weightBytes),
    (result.startMs / 1000).toFixed(1),
    `${result.rssMb} / ${result.peakRssMb}`,
    "",
  ]
    .join(" | ")
    .trim();
}

function write(): void {
  const at = new Date().toISOString();
  const machine = `${cpus()[0]?.model.split(" ").slice(0, 2).join(" ")}, ${cpus().length} cores, Node ${process.version}`;
  const text = [
    `# Control plane: ${services} services of 2 endpoints, ${proxies} proxies with an ADS stream each (delta)`,
    "",
    `${at}; ${machine}; API server, control plane and clients share the cores; ${rounds} changes of each kind.`,
    "Serin's times run from the PATCH to the Kubernetes API, go-control-plane's from the request to its own process.",
    "`all`: every proxy sees every service. `scoped`: a Sidecar in the root namespace imports only the own namespace's.",
    "",
    "| scenario | control plane | endpoint to last proxy, ms (median / max) | MB sent | weight to last proxy, ms (median / max) | MB sent | full start, s | RSS MB now / peak |",
    "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ...results.map(line),
    "",
  ].join("\n");
  writeFileSync(`${values.report}.md`, text);
  writeFileSync(
    `${values.report}.json`,
    `${JSON.stringify({ at, machine, services, proxies, results }, null, 2)}\n`,
  );
  console.log(`\n${text}`);
}
