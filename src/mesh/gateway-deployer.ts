import { type KubeObject, RESOURCES, type ResourceType } from "../api/index.ts";
import { backoffMs, messageOf, SerinError } from "../base/index.ts";
import type { KubeStore } from "../kube/store.ts";
import type { Clock, Logger } from "../runtime/index.ts";
import { CONTROLLERS, type GatewayApi, type WantedDeployment } from "./core/gateway-api/convert.ts";
import { deploymentManifests, MANAGED_LABEL } from "./core/gateway-api/deployment-manifests.ts";
import type { MeshObjects } from "./core/mesh-objects.ts";

const BACKOFF = { baseMs: 200, maxMs: 10_000 };
const TYPES: Readonly<Record<string, ResourceType>> = {
  ServiceAccount: RESOURCES.serviceAccount,
  Service: RESOURCES.service,
  Deployment: RESOURCES.deployment,
};

/** The classes that are there from the start, as Istio's own one is. */
const CLASSES = { istio: CONTROLLERS[0], serin: CONTROLLERS[1] } as const;

export interface GatewayDeployerOptions {
  readonly store: KubeStore;
  readonly clock: Clock;
  readonly logger: Logger;
  /** In [0, 1), for the jitter of the back-off. */
  readonly random: () => number;
}

/** Gives Gateways that name no address proxies of their own. */
export interface GatewayDeployer {
  /** Creates what is missing, changes what is different, and takes away what no Gateway wants any more. */
  apply(wanted: GatewayApi["deployments"], objects: MeshObjects): void;
  stop(): void;
}

/**
 * A deployer. Objects that have the name and were not made for the Gateway are left alone. It makes
 * the GatewayClasses `istio` and `serin` too, unless somebody took them away while it runs.
 */
export function createGatewayDeployer(options: GatewayDeployerOptions): GatewayDeployer {
  const { store, clock, logger, random } = options;
  /** What was asked for, by namespace and name; undefined = that it goes. */
  const asked = new Map<string, readonly KubeObject[] | undefined>();
  const texts = new Map<string, string>();
  const cancels = new Set<() => void>();
  let isStopped = false;
  let hasClasses = false;

  const attempt = (what: string, isCurrent: () => boolean, act: () => Promise<void>, tries = 0) => {
    if (isStopped || !isCurrent()) return;
    act().catch((error: unknown) => {
      const fields = { gateway: what, reason: messageOf(error) };
      // A cluster without Gateway API's definitions may get them later.
      const isMissing = error instanceof SerinError && error.code === "SERIN_NOT_FOUND";
      if (isMissing) logger.debug(fields, "gateway not deployed");
      else logger.warn(fields, "gateway not deployed");
      const cancel = clock.schedule(backoffMs(tries, BACKOFF, random()), () => {
        cancels.delete(cancel);
        attempt(what, isCurrent, act, tries + 1);
      });
      cancels.add(cancel);
    });
  };

  const deploy = (key: string, manifests: readonly KubeObject[]): void => {
    const text = JSON.stringify(manifests);
    if (texts.get(key) === text) return;
    texts.set(key, text);
    asked.set(key, manifests);
    attempt(
      key,
      () => asked.get(key) === manifests,
      async () => {
        for (const manifest of manifests) await put(store, manifest, logger);
      },
    );
  };

  const remove = (service: KubeObject): void => {
    const { namespace = "default", name } = service.metadata;
    const key = `${namespace}/${name}`;
    if (texts.get(key) === "") return;
    texts.set(key, "");
    asked.set(key, undefined);
    attempt(
      key,
      () => asked.get(key) === undefined,
      async () => {
        // The Service last: it is what is looked for.
        for (const kind of ["Deployment", "ServiceAccount", "Service"]) {
          await removeManaged(store, TYPES[kind] ?? RESOURCES.service, { namespace, name });
        }
      },
    );
  };

  return {
    apply(wanted, objects) {
      if (!hasClasses) {
        hasClasses = true;
        attempt(
          "classes",
          () => true,
          () => createClasses(store),
        );
      }
      const gateways = new Map(
        objects.kubernetesGateways.map((each) => [nameOf(each), each] as const),
      );
      const keys = new Set<string>();
      for (const each of wanted) {
        const owner = gateways.get(`${each.namespace}/${each.gateway}`);
        if (owner?.metadata.uid === undefined) continue;
        keys.add(`${each.namespace}/${each.name}`);
        deploy(`${each.namespace}/${each.name}`, manifestsFor(each, owner));
      }
      for (const service of objects.services) {
        if (service.metadata.labels?.[MANAGED_LABEL] === undefined) continue;
        // One whose Gateway is gone goes with it, by its owner.
        const isOwned = (service.metadata.ownerReferences ?? []).some(({ name }) =>
          gateways.has(`${service.metadata.namespace}/${name}`),
        );
        if (isOwned && !keys.has(nameOf(service))) remove(service);
      }
      for (const key of texts.keys()) {
        if (!keys.has(key) && texts.get(key) !== "") texts.delete(key);
      }
    },
    stop() {
      isStopped = true;
      for (const cancel of cancels) cancel();
    },
  };
}

function manifestsFor(wanted: WantedDeployment, owner: KubeObject): readonly KubeObject[] {
  const { uid = "", annotations = {} } = owner.metadata;
  return deploymentManifests(wanted, { uid, annotations });
}

function nameOf({ metadata: { namespace = "", name } }: KubeObject): string {
  return `${namespace}/${name}`;
}

async function createClasses(store: KubeStore): Promise<void> {
  for (const [name, controllerName] of Object.entries(CLASSES)) {
    try {
      await store.create(RESOURCES.gatewayClass, {
        apiVersion: "gateway.networking.k8s.io/v1",
        kind: "GatewayClass",
        metadata: { name },
        spec: { controllerName, description: "Gateways served by Serin" },
      });
    } catch (error) {
      if (!(error instanceof SerinError) || error.code !== "SERIN_CONFLICT") throw error;
    }
  }
}

async function put(store: KubeStore, manifest: KubeObject, logger: Logger): Promise<void> {
  const type = TYPES[manifest.kind] ?? RESOURCES.service;
  const { namespace = "default", name, labels, ownerReferences } = manifest.metadata;
  try {
    await store.create(type, manifest);
    return;
  } catch (error) {
    if (!(error instanceof SerinError) || error.code !== "SERIN_CONFLICT") throw error;
  }
  const found = await store.get(type, { namespace, name });
  if (found?.metadata.labels?.[MANAGED_LABEL] !== labels?.[MANAGED_LABEL]) {
    logger.warn({ kind: type.kind, namespace, name }, "not made for a Gateway, left as it is");
    return;
  }
  const { annotations } = manifest.metadata;
  await store.patch(
    type,
    { namespace, name },
    { metadata: { labels, annotations, ownerReferences }, spec: manifest["spec"] },
    { kind: "merge" },
  );
}

async function removeManaged(
  store: KubeStore,
  type: ResourceType,
  key: { readonly namespace: string; readonly name: string },
): Promise<void> {
  const found = await store.get(type, key);
  if (found?.metadata.labels?.[MANAGED_LABEL] === undefined) return;
  try {
    await store.delete(type, key);
  } catch (error) {
    if (!(error instanceof SerinError) || error.code !== "SERIN_NOT_FOUND") throw error;
  }
}
