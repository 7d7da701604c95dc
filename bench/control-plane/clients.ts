/** A process of light clients, steered by messages from the benchmark. */
import { LightClient } from "./light-client.ts";
import { namespaceOf, proxyOf } from "./mesh.ts";

/** What the benchmark asks of a process of clients. */
export type ClientsCommand =
  | { readonly kind: "start"; readonly port: number; readonly from: number; readonly to: number }
  | {
      readonly kind: "await";
      readonly typeUrl: string;
      readonly name: string;
      /** Text that the new version contains. */
      readonly marker: string;
      /** Only clients of this namespace are to get it; undefined = all. */
      readonly namespace: string | undefined;
    };

/** What it answers; times are of the machine's monotonic clock, in ns. */
export type ClientsReport =
  | { readonly kind: "ready" }
  | { readonly kind: "complete"; readonly atNs: string }
  | { readonly kind: "waiting" }
  | { readonly kind: "reached"; readonly atNs: string; readonly bytes: number };

interface Waiting {
  readonly typeUrl: string;
  readonly name: string;
  readonly marker: Buffer;
  readonly missing: Set<number>;
}

let count = 0;
let complete = 0;
let bytes = 0;
let from = 0;
let waiting: Waiting | undefined;

process.on("message", (command: ClientsCommand) => {
  if (command.kind === "start") start(command);
  else {
    const indices = Array.from({ length: count }, (_, i) => from + i);
    const { typeUrl, name, marker, namespace } = command;
    const missing = indices.filter((i) => namespace === undefined || namespaceOf(i) === namespace);
    waiting = { typeUrl, name, marker: Buffer.from(marker), missing: new Set(missing) };
    bytes = 0;
    report({ kind: "waiting" });
  }
});
report({ kind: "ready" });

function start(command: Extract<ClientsCommand, { kind: "start" }>): void {
  from = command.from;
  count = command.to - command.from;
  for (let i = from; i < command.to; i += 1) {
    const { name, ip } = proxyOf(i);
    new LightClient({
      ...{ port: command.port, name, ip, namespace: namespaceOf(i) },
      onComplete: () => {
        complete += 1;
        if (complete === count) report({ kind: "complete", atNs: now() });
      },
      onResources: (typeUrl, resources) => {
        for (const resource of resources) {
          bytes += resource.bytes.length;
          if (waiting === undefined || typeUrl !== waiting.typeUrl) continue;
          if (resource.name !== waiting.name || !resource.bytes.includes(waiting.marker)) continue;
          waiting.missing.delete(i);
          if (waiting.missing.size > 0) continue;
          waiting = undefined;
          report({ kind: "reached", atNs: now(), bytes });
        }
      },
    });
  }
}

function now(): string {
  return String(process.hrtime.bigint());
}

function report(message: ClientsReport): void {
  process.send?.(message);
}

// The benchmark is gone: so is this.
process.on("disconnect", () => process.exit());
