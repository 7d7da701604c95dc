import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { parseAllDocuments } from "yaml";
import { bundledImageMap } from "../../src/cli/image-map.ts";

const root = new URL("../../", import.meta.url);
const images = bundledImageMap(undefined);

interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly spec: {
    readonly selector?: unknown;
    readonly ports?: unknown;
    readonly template?: {
      readonly metadata: { readonly labels: Record<string, string> };
      readonly spec: { readonly containers: readonly { image: string; ports: unknown }[] };
    };
  };
}

function manifests(path: string): Manifest[] {
  const documents = parseAllDocuments(readFileSync(new URL(path, root), "utf8"));
  return documents.map((document) => {
    assert.deepEqual(document.errors, [], path);
    return document.toJS() as Manifest;
  });
}

const files = ["", "/networking", "/security", "/telemetry"]
  .map((part) => `examples/bookinfo${part}`)
  .concat("examples/canaries")
  .flatMap((directory) =>
    readdirSync(new URL(directory, root))
      .filter((name) => name.endsWith(".yaml"))
      .map((name) => `${directory}/${name}`),
  );

for (const file of files) {
  test(`${file} uses only images that run on this machine`, () => {
    for (const { spec } of manifests(file)) {
      for (const { image } of spec.template?.spec.containers ?? []) {
        const row = images.find((mapping) => image.startsWith(mapping.image.replace("*", "")));
        assert.ok(row !== undefined, image);
        assert.ok(existsSync(row.command[1] ?? ""), row.command.join(" "));
      }
    }
  });
}

const TEXTBOOK: readonly (readonly [string, readonly string[]])[] = [
  ["productpage", ["v1"]],
  ["reviews", ["v1", "v2", "v3"]],
];
for (const [name, versions] of TEXTBOOK) {
  test(`${name}.yaml has the textbook's names, labels, ports and images`, () => {
    const [service, ...deployments] = manifests(`examples/bookinfo/${name}.yaml`);
    assert.deepEqual(service, {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name },
      spec: { ports: [{ port: 9080, name: "http" }], selector: { app: name } },
    });
    const labelsOf = (version: string) => ({ app: name, version });
    assert.deepEqual(
      deployments,
      versions.map((version) => ({
        apiVersion: "apps/v1",
        kind: "Deployment",
        metadata: { name: `${name}-${version}` },
        spec: {
          replicas: 1,
          selector: { matchLabels: labelsOf(version) },
          template: {
            metadata: { labels: labelsOf(version) },
            spec: {
              containers: [
                {
                  name,
                  image: `docker.io/istio/examples-bookinfo-${name}-${version}:1.17.0`,
                  ports: [{ containerPort: 9080 }],
                },
              ],
            },
          },
        },
      })),
    );
  });
}
