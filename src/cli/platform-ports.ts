import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { z } from "zod";

const FILE = "control-plane.json";
const schema = z.object({
  xds: z.int().min(1).max(65_535),
  secure: z.int().min(1).max(65_535).optional(),
  debug: z.int().min(1).max(65_535),
  webhook: z.int().min(1).max(65_535),
});

/** Ports of the control plane; pods that exist know them from the time they were injected. */
export type ControlPlanePorts = z.infer<typeof schema>;
const ANY: ControlPlanePorts = { xds: 0, debug: 0, webhook: 0 };

/**
 * The ports that this data directory's control plane had before, so that sidecars of a cluster that
 * comes back find it; any free port in place of one that is taken, and for a new cluster.
 */
export async function preferredPorts(dataDir: string, host: string): Promise<ControlPlanePorts> {
  const known = readPorts(dataDir);
  return {
    xds: await ifFree(host, known.xds),
    secure: await ifFree(host, known.secure ?? 0),
    debug: await ifFree(host, known.debug),
    webhook: await ifFree(host, known.webhook),
  };
}

export function rememberPorts(dataDir: string, ports: ControlPlanePorts): void {
  writeFileSync(join(dataDir, FILE), `${JSON.stringify(ports)}\n`);
}

function readPorts(dataDir: string): ControlPlanePorts {
  try {
    return schema.parse(JSON.parse(readFileSync(join(dataDir, FILE), "utf8")));
  } catch {
    // A new cluster, or a file that a crash cut short: any port will do.
    return ANY;
  }
}

function ifFree(host: string, port: number): Promise<number> {
  if (port === 0) return Promise.resolve(0);
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once("error", () => resolve(0));
    probe.listen(port, host, () => probe.close(() => resolve(port)));
  });
}
