/**
 * `npm run bench:proxy -- [--scenario NAME,…] [--rounds N] [--seconds N] [--only serin,envoy] [--report FILE]`
 *
 * Serin, Envoy, and where it makes sense nginx and HAProxy, side by side in interleaved rounds: each
 * on core 0, load generator and upstream on core 1. Needs Linux with `taskset`, `wrk`, `h2load`,
 * `openssl` and `nginx`; a contender that is not installed is named and left out. Results go to
 * `bench/results/<scenario>.{json,md}`.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { cpus, platform, release, tmpdir, totalmem } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { makeCertificates } from "./certificates.ts";
import {
  buildSerin,
  type Contender,
  contenders,
  type Running,
  start,
  upstreamCommand,
  which,
} from "./contenders.ts";
import {
  fixedRate,
  type Handshakes,
  handshakes,
  type Latency,
  rssMb,
  saturate,
  type Target,
} from "./measure.ts";
import { type Load, SCENARIOS, type Scenario, type ScenarioPorts } from "./scenarios.ts";

const PROXY_CORE = 0;
const LOAD_CORE = 1;
const RATES = [1000, 5000] as const;
const MANY_CONNECTIONS = 256;

interface Sample {
  readonly rps: number;
  readonly cpuMsPer1000: number;
  readonly atRate: Readonly<Record<string, Latency>>;
  readonly idleRssMb: number;
  readonly loadedRssMb: number;
  readonly handshakes?: { readonly full: Handshakes; readonly resumed: Handshakes };
}

const { values } = parseArgs({
  options: {
    help: { type: "boolean", short: "h" },
    scenario: { type: "string" },
    report: { type: "string" },
    rounds: { type: "string", default: "3" },
    seconds: { type: "string", default: "5" },
    only: { type: "string" },
  },
});
if (values.help === true) {
  console.log(`npm run bench:proxy -- [--scenario NAME,…] [--rounds N] [--seconds N] [--only serin,envoy] [--report FILE]

Scenarios:
${SCENARIOS.map(({ name, title }) => `  ${name.padEnd(10)} ${title}`).join("\n")}`);
  process.exit(0);
}
const rounds = Number(values.rounds);
const seconds = Number(values.seconds);
const needed = ["taskset", "wrk", "h2load", "nginx", "openssl"];
const lacking = needed.filter((name) => which(name) === undefined);
if (lacking.length > 0) {
  console.error(
    `bench:proxy needs ${lacking.join(", ")} (Debian: apt-get install util-linux wrk nghttp2-client nginx openssl)`,
  );
  process.exit(2);
}
if (cpus().length < 2) {
  console.error("bench:proxy needs two cores: one for the proxy, one for the load");
  process.exit(2);
}
const wanted = values.scenario?.split(",");
const unknown = (wanted ?? []).filter((name) => !SCENARIOS.some((one) => one.name === name));
if (unknown.length > 0) {
  console.error(
    `no scenario ${unknown.join(", ")} (there are ${SCENARIOS.map(({ name }) => name).join(", ")})`,
  );
  process.exit(2);
}

const dir = mkdtempSync(join(tmpdir(), "serin-bench-"));
try {
  await main();
} finally {
  rmSync(dir, { recursive: true });
}

async function main(): Promise<void> {
  const certificates = makeCertificates(dir);
  const entry = buildSerin(dir);
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, inner = 0] = await freePorts(8);
  const ports: ScenarioPorts = { proxies: [a, b], admins: [c, d], http1: [e, f], http2: g };
  const command = upstreamCommand(dir, ports, inner);
  if (command === undefined) throw new Error("no nginx");
  const upstream = await start(command, LOAD_CORE, e);
  const documents: object[] = [];
  try {
    for (const scenario of SCENARIOS) {
      if (wanted !== undefined && !wanted.includes(scenario.name)) continue;
      console.log(`\n${scenario.name}: ${scenario.title}`);
      const all = contenders(dir, entry, scenario, ports, certificates);
      const chosen = all.filter(
        ({ name }) => values.only === undefined || values.only.split(",").includes(name),
      );
      documents.push(await runScenario(scenario, chosen, ports));
    }
  } finally {
    await upstream.stop();
  }
  if (values.report !== undefined) write(values.report, `${JSON.stringify(documents, null, 2)}\n`);
}

async function runScenario(
  scenario: Scenario,
  all: readonly Contender[],
  ports: ScenarioPorts,
): Promise<object> {
  const present = all.filter(({ commands }) => commands.length > 0);
  for (const { name, commands, missing } of all) {
    if (commands.length === 0) console.log(`left out: ${name} (${missing})`);
  }
  const samples = new Map<string, Sample[]>();
  for (let round = 1; round <= rounds; round += 1) {
    for (const contender of rotated(present, round)) {
      const sample = await measure(scenario, contender, ports);
      samples.set(contender.name, [...(samples.get(contender.name) ?? []), sample]);
      console.log(`round ${round} ${contender.name.padEnd(8)} ${format(sample)}`);
    }
  }
  const target: Target = { port: scenario.direct(ports), isTls: false, pids: [] };
  const direct: Record<string, Latency> = {};
  for (const rate of ratesOf(scenario.load)) {
    direct[rate] = await fixedRate(LOAD_CORE, target, scenario.load, rate, seconds);
  }
  return report(scenario, present, samples, direct);
}

/** Large bodies at thousands a second would measure the load generator. */
function ratesOf({ path }: Load): readonly number[] {
  return path === "/1k" ? RATES : [RATES[0]];
}

async function measure(
  scenario: Scenario,
  contender: Contender,
  ports: ScenarioPorts,
): Promise<Sample> {
  const running: Running[] = [];
  try {
    // The last one first: it is the upstream of the one before.
    for (let i = contender.commands.length - 1; i >= 0; i -= 1) {
      running.push(await start(contender.commands[i] ?? [], PROXY_CORE, ports.proxies[i] ?? 0));
    }
    const pids = running.map(({ pid }) => pid);
    const target: Target = {
      port: ports.proxies[0],
      isTls: scenario.countsHandshakes === true,
      pids,
    };
    // The start is over by then, for everybody.
    await sleep(4000);
    const idleRssMb = Math.max(...pids.map(rssMb));
    const { load } = scenario;
    // The warm-up is for everybody, and the compiler of one of them.
    await saturate(LOAD_CORE, target, load, 3);
    const best = await saturate(LOAD_CORE, target, load, seconds);
    const atRate: Record<string, Latency> = {};
    for (const rate of ratesOf(load)) {
      atRate[rate] = await fixedRate(LOAD_CORE, target, load, rate, seconds);
    }
    const many = load.tool === "wrk" ? { ...load, connections: MANY_CONNECTIONS } : load;
    await saturate(LOAD_CORE, target, many, 3);
    const loadedRssMb = Math.max(...pids.map(rssMb));
    const tls = scenario.countsHandshakes
      ? {
          handshakes: {
            full: await handshakes(LOAD_CORE, target, "new", seconds),
            resumed: await handshakes(LOAD_CORE, target, "reuse", seconds),
          },
        }
      : {};
    return { ...best, atRate, idleRssMb, loadedRssMb, ...tls };
  } finally {
    for (const one of running) await one.stop();
  }
}

/** Each round starts with another one, so that none always runs on a cool machine. */
function rotated<T>(items: readonly T[], by: number): readonly T[] {
  const at = by % Math.max(1, items.length);
  return [...items.slice(at), ...items.slice(0, at)];
}

function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? 0;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? 0) + upper) / 2;
}

function round(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}

function format({ rps, cpuMsPer1000, atRate, idleRssMb, loadedRssMb, ...more }: Sample): string {
  const rates = Object.entries(atRate).map(
    ([rate, { p50Ms, p99Ms }]) => `at ${rate}: p50 ${p50Ms.toFixed(2)} p99 ${p99Ms.toFixed(2)} ms`,
  );
  const tls = more.handshakes;
  return [
    `${Math.round(rps)} rps, ${cpuMsPer1000.toFixed(1)} ms CPU per 1000`,
    ...rates,
    `${idleRssMb.toFixed(0)} → ${loadedRssMb.toFixed(0)} MB`,
    ...(tls === undefined
      ? []
      : [
          `handshakes ${tls.full.perSecond.toFixed(0)}/s (${tls.full.cpuMsEach.toFixed(2)} ms), resumed ${tls.resumed.perSecond.toFixed(0)}/s (${tls.resumed.cpuMsEach.toFixed(2)} ms)`,
        ]),
  ].join(", ");
}

function report(
  scenario: Scenario,
  present: readonly Contender[],
  samples: ReadonlyMap<string, readonly Sample[]>,
  direct: Readonly<Record<string, Latency>>,
): object {
  const results = present.map(({ name, version }) =>
    summary(name, version, samples.get(name) ?? []),
  );
  const find = (name: string) => results.find((result) => result.contender === name);
  const [own, envoy] = [find("serin"), find("envoy")];
  const ratios =
    own === undefined || envoy === undefined
      ? undefined
      : {
          throughput: round(own.rps / envoy.rps, 3),
          requestsPerCpu: round(envoy.cpuMsPer1000 / own.cpuMsPer1000, 3),
        };
  const document = {
    scenario: scenario.name,
    title: scenario.title,
    date: new Date().toISOString(),
    machine: {
      cpu: cpus()[0]?.model ?? "",
      cores: cpus().length,
      memoryMb: Math.round(totalmem() / 2 ** 20),
      os: `${platform()} ${release()}`,
      node: process.version,
    },
    rounds,
    seconds,
    direct,
    results,
    serinToEnvoy: ratios,
  };
  const target = join(import.meta.dirname, "../results", scenario.name);
  write(`${target}.json`, `${JSON.stringify(document, null, 2)}\n`);
  write(`${target}.md`, markdown(document));
  console.log(`\n${markdown(document)}`);
  return document;
}

type Summary = ReturnType<typeof summary>;

function summary(contender: string, version: string, own: readonly Sample[]) {
  const of = (pick: (sample: Sample) => number, digits: number): number =>
    round(median(own.map(pick)), digits);
  const rates = Object.keys(own[0]?.atRate ?? {});
  const atRate = Object.fromEntries(
    rates.map((rate) => [
      rate,
      {
        p50Ms: of((s) => s.atRate[rate]?.p50Ms ?? 0, 3),
        p99Ms: of((s) => s.atRate[rate]?.p99Ms ?? 0, 3),
        cpuMsPer1000: of((s) => s.atRate[rate]?.cpuMsPer1000 ?? 0, 1),
      },
    ]),
  );
  const tls =
    own[0]?.handshakes === undefined
      ? undefined
      : {
          fullPerSecond: of((s) => s.handshakes?.full.perSecond ?? 0, 0),
          fullCpuMs: of((s) => s.handshakes?.full.cpuMsEach ?? 0, 3),
          resumedPerSecond: of((s) => s.handshakes?.resumed.perSecond ?? 0, 0),
          resumedCpuMs: of((s) => s.handshakes?.resumed.cpuMsEach ?? 0, 3),
        };
  return {
    contender,
    version,
    rps: of((s) => s.rps, 0),
    cpuMsPer1000: of((s) => s.cpuMsPer1000, 1),
    atRate,
    idleRssMb: of((s) => s.idleRssMb, 0),
    loadedRssMb: of((s) => s.loadedRssMb, 0),
    ...(tls === undefined ? {} : { handshakes: tls }),
  };
}

function write(file: string, text: string): void {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
}

function markdown(document: {
  readonly scenario: string;
  readonly title: string;
  readonly date: string;
  readonly machine: Readonly<Record<string, string | number>>;
  readonly rounds: number;
  readonly direct: Readonly<Record<string, Latency>>;
  readonly results: readonly Summary[];
  readonly serinToEnvoy:
    | { readonly throughput: number; readonly requestsPerCpu: number }
    | undefined;
}): string {
  const { machine, results, direct, serinToEnvoy: ratio } = document;
  const rates = Object.keys(direct);
  const cells = (latencies: Readonly<Record<string, Pick<Latency, "p50Ms" | "p99Ms">>>): string =>
    rates
      .map((rate) => {
        const { p50Ms = 0, p99Ms = 0 } = latencies[rate] ?? {};
        return ` ${round(p50Ms, 2)} / ${round(p99Ms, 2)} |`;
      })
      .join("");
  const tls = results.flatMap(({ contender, handshakes: one }) =>
    one === undefined
      ? []
      : [
          `- ${contender}: ${one.fullPerSecond} full handshakes a second (${one.fullCpuMs} ms CPU each), ${one.resumedPerSecond} resumed (${one.resumedCpuMs} ms)`,
        ],
  );
  return [
    `# ${document.scenario}: ${document.title}`,
    "",
    `${document.date}; ${machine["cpu"]}, ${machine["cores"]} cores, ${machine["os"]}, Node ${machine["node"]}.`,
    `Each contender on one core, load generator and upstream (nginx) on another; published build; median of ${document.rounds} interleaved rounds.`,
    "",
    `| contender | rps at saturation | CPU ms per 1000 |${rates.map((rate) => ` p50 / p99 ms at ${rate} rps |`).join("")} RSS MB idle → loaded |`,
    `| --- | ---: | ---: |${rates.map(() => " ---: |").join("")} ---: |`,
    `| (no proxy) | – | – |${cells(direct)} – |`,
    ...results.map(
      (r) =>
        `| ${r.contender} ${r.version} | ${r.rps} | ${r.cpuMsPer1000} |${cells(r.atRate)} ${r.idleRssMb} → ${r.loadedRssMb} |`,
    ),
    "",
    ...(tls.length === 0 ? [] : [...tls, ""]),
    ratio === undefined
      ? "Envoy was not there to compare with."
      : `Serin to Envoy: ${ratio.throughput} × the throughput at saturation, ${ratio.requestsPerCpu} × the requests per CPU second.`,
    "",
  ].join("\n");
}

/** Ports that nobody listens on at the moment. */
async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer());
  const ports = await Promise.all(
    servers.map(
      (server) =>
        new Promise<number>((resolve) => {
          server.listen(0, "127.0.0.1", () => {
            const address = server.address();
            resolve(typeof address === "object" && address !== null ? address.port : 0);
          });
        }),
    ),
  );
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
