import type { Pod } from "./pod.ts";

/** The ConfigMaps and Secrets a pod refers to, by name. */
export interface ConfigNames {
  readonly configMap: ReadonlySet<string>;
  readonly secret: ReadonlySet<string>;
}

/** Collects every reference of a pod's environment and volumes. */
export function configNames({ spec }: Pod): ConfigNames {
  const configMap = new Set<string>();
  const secret = new Set<string>();
  const add = (names: Set<string>, name: string | undefined): void => {
    if (name !== undefined) names.add(name);
  };
  for (const container of [...spec.initContainers, ...spec.containers]) {
    for (const from of container.envFrom) {
      add(configMap, from.configMapRef?.name);
      add(secret, from.secretRef?.name);
    }
    for (const { valueFrom } of container.env) {
      add(configMap, valueFrom?.configMapKeyRef?.name);
      add(secret, valueFrom?.secretKeyRef?.name);
    }
  }
  for (const volume of spec.volumes) {
    add(configMap, volume.configMap?.name);
    add(secret, volume.secret?.secretName);
    for (const source of volume.projected?.sources ?? []) {
      add(configMap, source.configMap?.name);
      add(secret, source.secret?.name);
    }
  }
  return { configMap, secret };
}
