import { parse, stringify } from "yaml";
import { z } from "zod";
import { type KubeObject, RESOURCES } from "../api/index.ts";
import { formatPath, messageOf, SerinError } from "../base/index.ts";
import type { KubeStore } from "../kube/store.ts";
import type { InjectionSettings } from "./core/injection-patch.ts";

/** Istio's name for where an injector says what it injects. */
const CONFIG_MAP = "istio-sidecar-injector";
const KEY = "config";

const settingsSchema = z.strictObject({
  proxyImage: z.string().min(1),
  xdsAddress: z.string().regex(/^.+:\d{1,5}$/, "must be host:port"),
  xdsTls: z.boolean().optional(),
  interceptionMode: z.enum(["NONE", "REDIRECT"]),
  clusterId: z.string().min(1),
  audience: z.string().min(1),
  nativeSidecars: z.boolean().optional(),
  rewriteProbes: z.boolean().optional(),
});

/** Says in the cluster what the webhook injects, so that `serin inject` injects the same. */
export async function publishInjectionSettings(
  store: KubeStore,
  rootNamespace: string,
  settings: InjectionSettings,
): Promise<void> {
  const type = RESOURCES.configMap;
  const data = { [KEY]: stringify(settings) };
  const object: KubeObject = {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name: CONFIG_MAP, namespace: rootNamespace },
    data,
  };
  try {
    await store.create(type, object);
  } catch (error) {
    if (!(error instanceof SerinError) || error.code !== "SERIN_CONFLICT") throw error;
    await store.patch(type, object.metadata, { data }, { kind: "merge" });
  }
}

/** What the webhook of a cluster injects. Throws SERIN_NOT_FOUND when none has said so. */
export async function readInjectionSettings(
  store: KubeStore,
  rootNamespace: string,
): Promise<InjectionSettings> {
  const where = `${rootNamespace}/${CONFIG_MAP}`;
  const found = await store.get(RESOURCES.configMap, {
    namespace: rootNamespace,
    name: CONFIG_MAP,
  });
  const data = found?.["data"] as Readonly<Record<string, string>> | undefined;
  const text = data?.[KEY];
  if (text !== undefined) return parseInjectionSettings(text, `ConfigMap ${where}`);
  throw new SerinError(
    "SERIN_NOT_FOUND",
    `the ConfigMap ${where}, in which the control plane says what it injects, ${found === undefined ? "does not exist" : `has no data.${KEY}`}`,
    { source: "caller" },
  );
}

/** Reads injection settings (YAML); `source` names them. Throws SERIN_UNREADABLE_INPUT. */
export function parseInjectionSettings(text: string, source: string): InjectionSettings {
  const refused = (reason: string, cause: unknown): SerinError =>
    new SerinError("SERIN_UNREADABLE_INPUT", `${source}: ${reason}`, { source: "caller", cause });
  let value: unknown;
  try {
    value = parse(text);
  } catch (error) {
    throw refused(messageOf(error), error);
  }
  const result = settingsSchema.safeParse(value);
  if (!result.success) {
    const issues = result.error.issues.map(({ path, message }) =>
      path.length === 0 ? message : `${formatPath(path)}: ${message}`,
    );
    throw refused(issues.join("; "), result.error);
  }
  const { xdsTls, nativeSidecars, rewriteProbes, ...settings } = result.data;
  return {
    ...settings,
    ...(xdsTls === undefined ? {} : { xdsTls }),
    ...(nativeSidecars === undefined ? {} : { nativeSidecars }),
    ...(rewriteProbes === undefined ? {} : { rewriteProbes }),
  };
}
