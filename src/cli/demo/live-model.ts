import type { TelemetryStore } from "../../analysis/index.ts";
import { versionOfImage } from "./application.ts";
import type { Scene } from "./scenario.ts";
import type { ViewModel } from "./view.ts";

const WINDOW_MS = 10_000;

/** What the view shows now: the split and its figures from the mesh, the last line from the client. */
export function liveModel(
  scene: Scene,
  telemetry: TelemetryStore,
  nowMs: number,
): Pick<ViewModel, "phase" | "arms" | "client"> {
  const { observer, load } = scene;
  const canaryPercent = observer.weights().at(-1)?.weightPercent ?? 0;
  const rows = telemetry.snapshot(WINDOW_MS).filter(({ namespace }) => namespace === "default");
  const arm = (role: "primary" | "canary", workload: string, weightPercent: number) => {
    const row = rows.find((candidate) => candidate.workload === workload);
    return {
      role,
      version: versionOfImage(observer.deployment(workload)?.image ?? "-"),
      weightPercent,
      requestsPerSecond: row?.requestsPerSecond,
      successRate: row?.successRate,
      p99Ms: row?.p99Ms,
    };
  };
  const recent = load.exchanges().filter(({ endMs }) => endMs > nowMs - WINDOW_MS);
  const requestsByVersion: Record<string, number> = {};
  for (const { version } of recent) {
    if (version !== undefined) requestsByVersion[version] = (requestsByVersion[version] ?? 0) + 1;
  }
  return {
    phase: observer.phase() ?? "none",
    arms: [
      arm("primary", "reviews-primary", 100 - canaryPercent),
      arm("canary", "reviews", canaryPercent),
    ],
    client: {
      requestsPerSecond: recent.length / (WINDOW_MS / 1000),
      ...load.totals(),
      requestsByVersion,
    },
  };
}
