/**
 * `npm run bench:proxy -- [--report FILE] [--rounds N] [--seconds N] [--only serin,envoy]`
 *
 * Serin, Envoy, nginx and HAProxy side by side in interleaved rounds: each pinned to core 0, load
 * generator and upstream on core 1. Needs Linux with `taskset`, `wrk`, `h2load` and `nginx` (the
 * upstream); a contender that is not installed is named and left out.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { cpus, platform, release, tmpdir, totalmem } from "node:os";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import {
  type Contender,
  contenders,
  type Ports,
  start,
  upstreamCommand,
  which,
} from "./contenders.ts";
import { fixedRate, rssMb, saturate } from "./measure.ts";

const SCENARIO = "h1-plain";
const PROXY_CORE = 0;
const LOAD_CORE = 1;
const FIXED_RPS = 1000;

interface Sample {
  readonly rps: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly cpuMsPer1000: number;
  readonly rssMb: number;
}

const { values } = parseArgs({
  options: {
    report: { type: "string" },
    rounds: { type: "string", default: "3" },
    seconds: { type: "string", default: "6" },
    only: { type: "string" },
  },
});
const rounds = Number(values.rounds);
const seconds = Number(values.seconds);
const lacking = ["taskset", "wrk", "h2load", "nginx"].filter((name) => which(name) === undefined);
if (lacking.length > 0) {
  console.error(
    `bench:proxy needs ${lacking.join(", ")} (Debian: apt-get install util-linux wrk nghttp2-client nginx)`,
  );
  process.exit(2);
}
if (cpus().length < 2) {
  console.error("bench:proxy needs two cores: one for the proxy, one for the load");
  process.exit(2);
}

const dir = mkdtempSync(join(tmpdir(), "serin-bench-"));
try {
  await main();
} finally {
  rmSync(dir, { recursive: true });
}

async function main(): Promise<void> {
  const [primary, canary, ...free] = await freePorts(10);
  const upstreams = [primary ?? 0, canary ?? 0] as const;
  const portsOf = new Map<string, Ports>();
  const all = contenders(dir, (name) => {
    const ports = { proxy: free.pop() ?? 0, admin: free.pop() ?? 0, upstreams };
    portsOf.set(name, ports);
    return ports;
  }).filter((c) => values.only === undefined || values.only.split(",").includes(c.name));
  const present = all.filter((contender) => contender.command !== undefined);
  for (const { name, command, missing } of all) {
    if (command === undefined) console.log(`left out: ${name} (${missing})`);
  }
  const command = upstreamCommand(dir, upstreams);
  if (command === undefined) throw new Error("no nginx");
  const upstream = await start(command, LOAD_CORE, upstreams[0]);
  const samples = new Map<string, Sample[]>();
  try {
    for (let round = 1; round <= rounds; round += 1) {
      for (const contender of rotated(present, round)) {
        const ports = portsOf.get(contender.name);
        if (ports === undefined) continue;
        const sample = await measure(contender, ports.proxy);
        samples.set(contender.name, [...(samples.get(contender.name) ?? []), sample]);
        console.log(`round ${round} ${contender.name.padEnd(8)} ${format(sample)}`);
      }
    }
    const direct = await fixedRate(LOAD_CORE, upstreams[0], undefined, FIXED_RPS, seconds);
    report(present, samples, direct);
  } finally {
    await upstream.stop();
  }
}

async function measure(contender: Contender, port: number): Promise<Sample> {
  const running = await start(contender.command ?? [], PROXY_CORE, port);
  try {
    // The warm-up is for everybody, and the compiler of one of them.
    await saturate(LOAD_CORE, port, 3);
    const rps = await saturate(LOAD_CORE, port, seconds);
    const fixed = await fixedRate(LOAD_CORE, port, running.pid, FIXED_RPS, seconds);
    return { rps, ...fixed, rssMb: rssMb(running.pid) };
  } finally {
    await running.stop();
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

function format(sample: Sample): string {
  return `${Math.round(sample.rps)} rps, at ${FIXED_RPS} rps: p50 ${sample.p50Ms.toFixed(2)} ms, p99 ${sample.p99Ms.toFixed(2)} ms, ${sample.cpuMsPer1000.toFixed(0)} ms CPU per 1000, ${sample.rssMb.toFixed(0)} MB`;
}

function report(
  present: readonly Contender[],
  samples: ReadonlyMap<string, readonly Sample[]>,
  direct: { readonly p50Ms: number; readonly p99Ms: number },
): void {
  const round = (value: number, digits: number): number => Number(value.toFixed(digits));
  const results = present.map(({ name, version }) => {
    const own = samples.get(name) ?? [];
    const of = (pick: (sample: Sample) => number, digits: number): number =>
      round(median(own.map(pick)), digits);
    return {
      scenario: SCENARIO,
      contender: name,
      version,
      rps: of((s) => s.rps, 0),
      p50Ms: of((s) => s.p50Ms, 3),
      p99Ms: of((s) => s.p99Ms, 3),
      cpuMsPer1000: of((s) => s.cpuMsPer1000, 1),
      rssMb: of((s) => s.rssMb, 1),
      rounds: own,
    };
  });
  const find = (name: string) => results.find((result) => result.contender === name);
  const [own, envoy] = [find("serin"), find("envoy")];
  const ratios =
    own === undefined || envoy === undefined
      ? {}
      : {
          [SCENARIO]: {
            throughputVsEnvoy: round(own.rps / envoy.rps, 3),
            p99VsEnvoy: round(own.p99Ms / envoy.p99Ms, 3),
          },
        };
  const machine = {
    cpu: cpus()[0]?.model ?? "",
    cores: cpus().length,
    memoryMb: Math.round(totalmem() / 2 ** 20),
    os: `${platform()} ${release()}`,
    node: process.version,
  };
  const directly = { p50Ms: round(direct.p50Ms, 3), p99Ms: round(direct.p99Ms, 3) };
  const document = {
    machine,
    date: new Date().toISOString(),
    rounds,
    direct: directly,
    results,
    ratios,
  };
  const json = `${JSON.stringify(document, null, 2)}\n`;
  if (values.report !== undefined) write(values.report, json);
  const target = join(import.meta.dirname, "../results", SCENARIO);
  write(`${target}.json`, json);
  write(`${target}.md`, markdown(document));
  console.log(`\n${markdown(document)}`);
}

function write(file: string, text: string): void {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
}

function markdown(document: {
  readonly machine: Readonly<Record<string, string | number>>;
  readonly date: string;
  readonly rounds: number;
  readonly direct: { readonly p50Ms: number; readonly p99Ms: number };
  readonly results: readonly (Omit<Sample, "rounds"> & {
    readonly contender: string;
    readonly version: string;
  })[];
  readonly ratios: Readonly<
    Record<string, { readonly throughputVsEnvoy: number; readonly p99VsEnvoy: number }>
  >;
}): string {
  const { machine, results, ratios, direct } = document;
  const ratio = ratios[SCENARIO];
  const rows = results.map(
    (r) =>
      `| ${r.contender} ${r.version} | ${r.rps} | ${r.p50Ms} | ${r.p99Ms} | ${r.cpuMsPer1000} | ${r.rssMb} |`,
  );
  return [
    `# ${SCENARIO}: HTTP/1.1 keep-alive, route 90/10, telemetry on, access log off`,
    "",
    `${document.date}; ${machine["cpu"]}, ${machine["cores"]} cores, ${machine["os"]}, Node ${machine["node"]}.`,
    `Each contender on one core, load generator and upstream (nginx, 1 KB) on another; median of ${document.rounds} interleaved rounds.`,
    "",
    `| contender | rps at saturation (32 connections) | p50 ms at ${FIXED_RPS} rps | p99 ms | CPU ms per 1000 requests | RSS MB |`,
    "| --- | ---: | ---: | ---: | ---: | ---: |",
    `| (no proxy) | – | ${direct.p50Ms} | ${direct.p99Ms} | – | – |`,
    ...rows,
    "",
    ratio === undefined
      ? "Envoy was not there to compare with."
      : `Serin to Envoy: ${ratio.throughputVsEnvoy} × the throughput, ${ratio.p99VsEnvoy} × the p99.`,
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
