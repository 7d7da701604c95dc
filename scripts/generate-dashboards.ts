/** Writes examples/addons/grafana.yaml: Grafana, provisioned with the dashboards beside it. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { stringify } from "yaml";

const addons = new URL("../examples/addons/", import.meta.url);
const namespace = "istio-system";
const labels = { app: "grafana" };
const metadata = (name: string) => ({ name, namespace, labels });

const dashboards = Object.fromEntries(
  readdirSync(new URL("grafana/", addons))
    .sort()
    .map((name) => [name, readFileSync(new URL(`grafana/${name}`, addons), "utf8")]),
);
const datasources = {
  apiVersion: 1,
  datasources: [
    {
      name: "Prometheus",
      uid: "prometheus",
      type: "prometheus",
      access: "proxy",
      url: "http://prometheus:9090",
      isDefault: true,
      // Of the scrape interval, for $__rate_interval.
      jsonData: { timeInterval: "15s" },
    },
  ],
};
const providers = {
  apiVersion: 1,
  providers: [
    {
      name: "serin",
      folder: "Serin",
      type: "file",
      allowUiUpdates: true,
      options: { path: "/var/lib/grafana/dashboards" },
    },
  ],
};
const mounts = [
  ["datasources", "/etc/grafana/provisioning/datasources"],
  ["providers", "/etc/grafana/provisioning/dashboards"],
  ["dashboards", "/var/lib/grafana/dashboards"],
] as const;

const objects = [
  ...[
    { name: "datasources", data: { "prometheus.yaml": stringify(datasources) } },
    { name: "providers", data: { "serin.yaml": stringify(providers) } },
    { name: "dashboards", data: dashboards },
  ].map(({ name, data }) => ({
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: metadata(`grafana-${name}`),
    data,
  })),
  {
    apiVersion: "v1",
    kind: "Service",
    metadata: metadata("grafana"),
    spec: { ports: [{ name: "http", port: 3000 }], selector: labels },
  },
  {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: metadata("grafana"),
    spec: {
      replicas: 1,
      selector: { matchLabels: labels },
      template: {
        metadata: { labels: { ...labels, "sidecar.istio.io/inject": "false" } },
        spec: {
          containers: [
            {
              name: "grafana",
              image: "docker.io/grafana/grafana:11.6.0",
              env: [
                // To look around without a password; not for a cluster that others reach.
                { name: "GF_AUTH_ANONYMOUS_ENABLED", value: "true" },
                { name: "GF_AUTH_ANONYMOUS_ORG_ROLE", value: "Admin" },
                { name: "GF_AUTH_BASIC_ENABLED", value: "false" },
              ],
              ports: [{ name: "http", containerPort: 3000 }],
              readinessProbe: { httpGet: { path: "/api/health", port: 3000 } },
              volumeMounts: mounts.map(([name, mountPath]) => ({ name, mountPath })),
            },
          ],
          volumes: mounts.map(([name]) => ({ name, configMap: { name: `grafana-${name}` } })),
        },
      },
    },
  },
];

const head =
  "# Made by scripts/generate-dashboards.ts from grafana/*.json: edit those, and run it again.\n";
// Long lines stay whole: a query that is folded cannot be compared.
const text = objects
  .map((each) => stringify(each, { lineWidth: 0, aliasDuplicateObjects: false }))
  .join("---\n");
writeFileSync(new URL("grafana.yaml", addons), head + text);
