import { messageOf } from "../../base/index.ts";
import { StatusError } from "../core/api/status-error.ts";
import type { Cluster } from "./cluster.ts";
import { SYSTEM } from "./credentials.ts";
import type { Target, WriteOptions } from "./write-request.ts";

const NAMESPACES = ["default", "kube-system", "kube-public", "kube-node-lease"];

/**
 * Creates what every cluster has: its namespaces, and a `default` service account in each namespace,
 * also in those created later. The returned function ends that.
 */
export async function bootstrap(cluster: Cluster): Promise<() => void> {
  const { storage, writer, registry, logger } = cluster;
  const create = async (plural: string, namespace: string, name: string): Promise<void> => {
    const served = registry.findServed("", "v1", plural);
    if (served === undefined || storage.get(served.resource, namespace, name) !== undefined) return;
    const target: Target = { ...served, namespace };
    const options: WriteOptions = {
      user: SYSTEM,
      dryRun: false,
      fieldValidation: "Ignore",
      warnings: [],
    };
    try {
      await writer.create(target, { metadata: { name } }, options);
    } catch (error) {
      // Somebody else was faster, or the namespace is going: both are as good.
      if (!(error instanceof StatusError)) throw error;
      if (error.code >= 500)
        logger.warn({ name, error: messageOf(error) }, "bootstrap write failed");
    }
  };
  for (const name of NAMESPACES) await create("namespaces", "", name);
  const namespaces = { group: "", plural: "namespaces" };
  for (const { metadata } of storage.list(namespaces)) {
    if (metadata.deletionTimestamp === undefined)
      await create("serviceaccounts", metadata.name, "default");
  }
  const logFailure = (error: unknown): void => {
    logger.error({ error: messageOf(error) }, "default service account not created");
  };
  const stops = [
    storage.subscribe(namespaces, ({ type, object }) => {
      if (type === "ADDED")
        create("serviceaccounts", object.metadata.name, "default").catch(logFailure);
    }),
    // A deleted default account comes back, as on a real cluster.
    storage.subscribe({ group: "", plural: "serviceaccounts" }, ({ type, object }) => {
      const { name, namespace = "" } = object.metadata;
      const owner = storage.get(namespaces, "", namespace);
      if (type !== "DELETED" || name !== "default" || owner === undefined) return;
      if (owner.metadata.deletionTimestamp === undefined) {
        create("serviceaccounts", namespace, "default").catch(logFailure);
      }
    }),
  ];
  return () => {
    for (const stop of stops) stop();
  };
}
