import { type KubeObject, RESOURCES } from "../../api/index.ts";
import { configNames } from "../core/node-agent/config-names.ts";
import type { ConfigSource } from "../core/node-agent/config-source.ts";
import type { Pod } from "../core/node-agent/pod.ts";
import type { LocalApi } from "../local-api.ts";

/** Reads the ConfigMaps and Secrets a pod refers to. */
export async function readConfig(api: LocalApi, pod: Pod): Promise<ConfigSource> {
  const names = configNames(pod);
  const { namespace } = pod;
  const read = async (kind: "configMap" | "secret"): Promise<Map<string, KubeObject>> => {
    const found = new Map<string, KubeObject>();
    for (const name of names[kind]) {
      const object = await api.get(RESOURCES[kind], { namespace, name });
      if (object !== undefined) found.set(name, object);
    }
    return found;
  };
  const configMaps = await read("configMap");
  const secrets = await read("secret");
  return { configMap: (name) => configMaps.get(name), secret: (name) => secrets.get(name) };
}
