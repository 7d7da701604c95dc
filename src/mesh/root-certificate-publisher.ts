import { type KubeObject, RESOURCES } from "../api/index.ts";
import { backoffMs, messageOf, SerinError } from "../base/index.ts";
import type { KubeStore } from "../kube/store.ts";
import type { Clock, Logger } from "../runtime/index.ts";
import { followKind } from "./follow.ts";

/** Istio's names, which other programs mount. */
const CONFIG_MAP = "istio-ca-root-cert";
const KEY = "root-cert.pem";
/** Where the root is, the first that is there: one brought along, then the mesh's own. */
const SECRETS = ["cacerts", "istio-ca-secret"];
const BACKOFF = { baseMs: 100, maxMs: 30_000 };

export interface RootCertificatePublisherOptions {
  readonly store: KubeStore;
  readonly rootNamespace: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /** In [0, 1), for the jitter of the back-off. */
  readonly random: () => number;
}

/**
 * Publishes the mesh's root certificate in every namespace, as ConfigMap `istio-ca-root-cert`, for
 * programs that verify peers without a sidecar. What somebody changes or deletes is put right again;
 * a new root replaces the old one everywhere. Returns at once; `stop` ends it.
 */
export function startRootCertificatePublisher(options: RootCertificatePublisherOptions): {
  stop(): void;
} {
  const { store, rootNamespace, clock, logger, random } = options;
  const abort = new AbortController();
  const { signal } = abort;
  const namespaces = new Set<string>();
  const published = new Map<string, string | undefined>();
  const roots = new Map<string, string | undefined>();
  const busy = new Set<string>();

  const root = (): string | undefined =>
    SECRETS.map((name) => roots.get(name)).find((pem) => pem !== undefined);

  const publish = async (namespace: string): Promise<void> => {
    // Whoever is at it sees the newest state when it goes round once more.
    if (busy.has(namespace)) return;
    busy.add(namespace);
    let attempt = 0;
    try {
      for (;;) {
        const pem = root();
        const isDone = published.get(namespace) === pem || !namespaces.has(namespace);
        if (signal.aborted || pem === undefined || isDone) return;
        try {
          await put(store, namespace, pem);
          published.set(namespace, pem);
        } catch (error) {
          if (!namespaces.has(namespace)) return;
          logger.warn({ namespace, reason: messageOf(error) }, "root certificate not published");
          await waited(backoffMs(attempt, BACKOFF, random()), clock, signal);
          attempt += 1;
        }
      }
    } finally {
      busy.delete(namespace);
    }
  };
  const publishAll = (): void => {
    for (const namespace of namespaces) void publish(namespace);
  };

  const common = { store, clock, logger, random, signal };
  void followKind({
    ...common,
    type: RESOURCES.namespace,
    onList(objects) {
      namespaces.clear();
      for (const each of objects) if (isLiving(each)) namespaces.add(each.metadata.name);
      publishAll();
    },
    onEvent(type, object) {
      const { name } = object.metadata;
      if (type === "DELETED" || !isLiving(object)) {
        namespaces.delete(name);
        published.delete(name);
      } else {
        namespaces.add(name);
        void publish(name);
      }
    },
  });
  void followKind({
    ...common,
    type: RESOURCES.configMap,
    select: { fieldSelector: `metadata.name=${CONFIG_MAP}` },
    onList(objects) {
      published.clear();
      for (const each of objects) published.set(each.metadata.namespace ?? "", pemOf(each));
      publishAll();
    },
    onEvent(type, object) {
      if (object.metadata.name !== CONFIG_MAP) return;
      const { namespace = "" } = object.metadata;
      published.set(namespace, type === "DELETED" ? undefined : pemOf(object));
      void publish(namespace);
    },
  });
  for (const name of SECRETS) {
    const learn = (secret: KubeObject | undefined): void => {
      roots.set(name, secret === undefined ? undefined : rootOf(secret));
      publishAll();
    };
    const isIt = ({ metadata }: KubeObject): boolean =>
      metadata.name === name && metadata.namespace === rootNamespace;
    void followKind({
      ...common,
      type: RESOURCES.secret,
      select: { namespace: rootNamespace, fieldSelector: `metadata.name=${name}` },
      onList: (objects) => learn(objects.find(isIt)),
      onEvent(type, object) {
        if (isIt(object)) learn(type === "DELETED" ? undefined : object);
      },
    });
  }
  return { stop: () => abort.abort() };
}

async function put(store: KubeStore, namespace: string, pem: string): Promise<void> {
  const data = { [KEY]: pem };
  try {
    await store.create(RESOURCES.configMap, {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: CONFIG_MAP, namespace, labels: { "istio.io/config": "true" } },
      data,
    });
  } catch (error) {
    if (!(error instanceof SerinError) || error.code !== "SERIN_CONFLICT") throw error;
    const key = { namespace, name: CONFIG_MAP };
    await store.patch(RESOURCES.configMap, key, { data }, { kind: "merge" });
  }
}

function isLiving({ metadata }: KubeObject): boolean {
  return metadata.deletionTimestamp === undefined;
}

function pemOf(configMap: KubeObject): string | undefined {
  return (configMap["data"] as Readonly<Record<string, string>> | undefined)?.[KEY];
}

/** The root of a Secret of a certificate authority; its own certificate is one without a chain. */
function rootOf(secret: KubeObject): string | undefined {
  const data = secret["data"] as Readonly<Record<string, string>> | undefined;
  const encoded = data?.[KEY] ?? data?.["ca-cert.pem"];
  return encoded === undefined ? undefined : Buffer.from(encoded, "base64").toString("utf8");
}

function waited(delayMs: number, clock: Clock, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const cancel = clock.schedule(delayMs, resolve);
    signal.addEventListener(
      "abort",
      () => {
        cancel();
        resolve();
      },
      { once: true },
    );
  });
}
