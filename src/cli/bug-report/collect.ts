import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { type KubeObject, RESOURCES } from "../../api/index.ts";
import { messageOf } from "../../base/index.ts";
import type { KubeStore } from "../../kube/store.ts";
import { askControlPlane, ROOT_NAMESPACE, withControlPlane } from "../control-plane.ts";
import { formatDocument, listOf } from "../output/document.ts";
import { askProxyAdmin, findProxyPod, type PodAccess } from "../proxy-admin.ts";
import type { ArchivedFile } from "./archive.ts";
import { redacted } from "./redact.ts";

export interface Collection {
  readonly store: KubeStore;
  readonly access: PodAccess;
  readonly controlPlane: string | undefined;
  /** Which namespaces' pods count; the control plane's always does. */
  readonly isIncluded: (namespace: string) => boolean;
  readonly logLines: number;
}

/** Never their contents: certificates' keys and tokens. */
const LEFT_OUT = ["secret", "tokenReview", "lease"];
const PAGES = ["syncz", "adsz", "configz", "endpointz"];
const PROXY_PAGES = ["config_dump", "clusters", "listeners", "stats", "certs", "server_info"];
const LOG_BYTES = 64 * 1024 * 1024;

/** Everything that helps to find out what is wrong. What cannot be had is listed in `errors.txt`. */
export async function collect(collection: Collection): Promise<readonly ArchivedFile[]> {
  const files: ArchivedFile[] = [];
  const errors: string[] = [];
  const add = async (path: string, make: () => Promise<string>): Promise<void> => {
    try {
      files.push({ path, text: redacted(await make()) });
    } catch (error) {
      errors.push(`${path}: ${messageOf(error)}`);
    }
  };
  const { store } = collection;
  for (const [name, type] of Object.entries(RESOURCES)) {
    if (LEFT_OUT.includes(name)) continue;
    await add(`cluster/${name}.yaml`, async () => {
      const { items } = await store.list(type);
      const kept = items.filter(({ metadata }) => isKept(metadata.namespace, collection));
      return formatDocument(listOf(kept.map(bare)), "yaml");
    });
  }
  await controlPlanePages(collection, add);
  const { items } = await store.list(RESOURCES.pod);
  for (const pod of items.filter(({ metadata }) => isKept(metadata.namespace, collection))) {
    await podFiles(pod, collection, add);
  }
  if (errors.length > 0)
    files.push({ path: "errors.txt", text: redacted(`${errors.join("\n")}\n`) });
  return files;
}

type Add = (path: string, make: () => Promise<string>) => Promise<void>;

function isKept(namespace: string | undefined, { isIncluded }: Collection): boolean {
  return namespace === undefined || namespace === ROOT_NAMESPACE || isIncluded(namespace);
}

/** Without what only the API server needs, and what may repeat a whole object. */
function bare(object: KubeObject): KubeObject {
  const { managedFields: _, ...metadata } = object.metadata as KubeObject["metadata"] & {
    readonly managedFields?: unknown;
  };
  return { ...object, metadata };
}

async function controlPlanePages(
  { store, controlPlane, access }: Collection,
  add: Add,
): Promise<void> {
  for (const page of PAGES) {
    await add(`control-plane/${page}.json`, () =>
      withControlPlane(store, controlPlane, access, async (address) =>
        formatDocument(await askControlPlane(address, `/debug/${page}`), "json"),
      ),
    );
  }
}

async function podFiles(pod: KubeObject, collection: Collection, add: Add): Promise<void> {
  const { name, namespace = "default" } = pod.metadata;
  const spec = (pod["spec"] ?? {}) as Readonly<Record<string, readonly { name: string }[]>>;
  const containers = [...(spec["initContainers"] ?? []), ...(spec["containers"] ?? [])];
  const folder = `pods/${namespace}/${name}`;
  for (const container of containers) {
    await add(`${folder}/${container.name}.log`, () =>
      logsOf(namespace, name, container.name, collection),
    );
  }
  if (!containers.some((container) => container.name === "istio-proxy")) return;
  for (const page of PROXY_PAGES) {
    await add(`${folder}/proxy-${page}.txt`, async () => {
      const proxy = await findProxyPod(collection.store, name, namespace);
      return await askProxyAdmin(proxy, `/${page}`, collection.access);
    });
  }
}

async function logsOf(
  namespace: string,
  pod: string,
  container: string,
  { access: { kubeconfig, env }, logLines }: Collection,
): Promise<string> {
  const config = kubeconfig === undefined ? [] : ["--kubeconfig", kubeconfig];
  const args = [...config, "logs", "-n", namespace, pod, "-c", container, `--tail=${logLines}`];
  const { stdout } = await promisify(execFile)("kubectl", args, {
    ...{ env, maxBuffer: LOG_BYTES, timeout: 30_000 },
  });
  return stdout;
}
