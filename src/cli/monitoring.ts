import { RESOURCES } from "../api/index.ts";
import type { KubeStore } from "../kube/store.ts";
import { writeConfigMap } from "./control-plane.ts";
import type { MetricsPage } from "./metrics-endpoint.ts";
import { podTargets } from "./pod-targets.ts";

/** The ConfigMap that a Prometheus in the cluster mounts beside its own configuration. */
const CONFIG_MAP = "serin-monitoring";
const TIMEOUT_MS = 10_000;
/** Path of each part's metrics, by the name of its scrape job. */
const PAGES = {
  "control-plane": "/control-plane/metrics",
  controller: "/controller/metrics",
} as const;
/** Discovery of pods, for a Prometheus built without Kubernetes (Debian's). */
const DISCOVERY = "/discovery/pods";

/** The metrics of control plane and controller, and where to scrape pods. */
export function monitoringPages(
  store: KubeStore,
  parts: Readonly<Record<keyof typeof PAGES, () => Promise<string>>>,
): Readonly<Record<string, MetricsPage>> {
  return {
    [PAGES["control-plane"]]: parts["control-plane"],
    [PAGES.controller]: parts.controller,
    [DISCOVERY]: async (query) => {
      const namespace = query.get("namespace") ?? undefined;
      const labelSelector = query.get("labelSelector") ?? undefined;
      const { items } = await store.list(RESOURCES.pod, { namespace, labelSelector });
      return items.flatMap(podTargets);
    },
  };
}

/**
 * Tells monitoring where control plane and controller are, which are no pods here: a file of targets for
 * each scrape job (Prometheus' file_sd_config), and the URL of the discovery of pods (http_sd_config).
 */
export async function publishMonitoring(store: KubeStore, address: string): Promise<void> {
  const targets = Object.entries(PAGES).map(([job, path]) => {
    const group = { targets: [address], labels: { __metrics_path__: path } };
    return [`${job}.json`, JSON.stringify([group])] as const;
  });
  await writeConfigMap(store, CONFIG_MAP, {
    ...Object.fromEntries(targets),
    "pod-discovery-url": `http://${address}${DISCOVERY}`,
  });
}

/** Reads the metrics of another server of this machine. Throws when it does not answer with 200. */
export async function readMetrics(address: string): Promise<string> {
  const response = await fetch(`http://${address}/metrics`, {
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${address} answered ${response.status}: ${text.trim()}`);
  return text;
}
