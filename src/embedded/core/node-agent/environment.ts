import { type ConfigSource, entriesOf, type Missing, textFromBase64 } from "./config-source.ts";
import { expandVariables } from "./expand.ts";
import { fieldValue, type PodFacts, resourceValue } from "./field-ref.ts";
import type { ContainerSpec } from "./pod.ts";

type Env = Readonly<Record<string, string>>;
type EnvVariable = ContainerSpec["env"][number];

export interface EnvironmentInput {
  readonly container: ContainerSpec;
  readonly facts: PodFacts;
  readonly config: ConfigSource;
  /** What the platform sets; the pod's own variables win and may refer to these. */
  readonly base: Env;
  /** Turns paths below the container's mounts into real ones. */
  readonly realPath: (text: string) => string;
  /** The node's capacity in plain units, for `resourceFieldRef` without a limit. */
  readonly capacity: Readonly<Record<string, number>>;
}

/**
 * A container's variables: platform, then `envFrom`, then `env` in order, each of which may use
 * `$(NAME)` of an earlier one. The first reference to something missing ends it.
 */
export function resolveEnvironment(input: EnvironmentInput): { readonly env: Env } | Missing {
  const env: Record<string, string> = { ...input.base };
  for (const from of input.container.envFrom) {
    for (const kind of ["configMap", "secret"] as const) {
      const reference = kind === "configMap" ? from.configMapRef : from.secretRef;
      if (reference === undefined) continue;
      const entries = entriesOf(input.config, kind, reference.name);
      if (entries === undefined && !reference.optional) return notFound(kind, reference.name);
      for (const [key, value] of Object.entries(entries ?? {})) {
        env[`${from.prefix}${key}`] = input.realPath(textFromBase64(value));
      }
    }
  }
  for (const variable of input.container.env) {
    const value = variableValue(variable, env, input);
    if (typeof value === "object") return value;
    if (value !== undefined) env[variable.name] = value;
  }
  return { env };
}

/** The value, undefined for an optional one that is absent, or what is missing. */
function variableValue(
  { value, valueFrom }: EnvVariable,
  env: Env,
  input: EnvironmentInput,
): string | undefined | Missing {
  if (valueFrom === undefined) {
    return expandVariables(input.realPath(value ?? ""), env);
  }
  if (valueFrom.fieldRef !== undefined) {
    const path = valueFrom.fieldRef.fieldPath;
    return fieldValue(path, input.facts) ?? { missing: `unsupported fieldPath: ${path}` };
  }
  if (valueFrom.resourceFieldRef !== undefined) {
    const reference = valueFrom.resourceFieldRef;
    const { resources } = input.container;
    const missing = `unsupported resource: ${reference.resource}`;
    return resourceValue(reference, resources, input.capacity) ?? { missing };
  }
  const kind = valueFrom.configMapKeyRef === undefined ? "secret" : "configMap";
  const reference = valueFrom.configMapKeyRef ?? valueFrom.secretKeyRef;
  if (reference === undefined) return "";
  const entries = entriesOf(input.config, kind, reference.name);
  const found = entries?.[reference.key];
  if (found !== undefined) return input.realPath(textFromBase64(found));
  if (reference.optional) return undefined;
  if (entries === undefined) return notFound(kind, reference.name);
  const { namespace } = input.facts.pod;
  const type = kind === "configMap" ? "ConfigMap" : "Secret";
  return {
    missing: `couldn't find key ${reference.key} in ${type} ${namespace}/${reference.name}`,
  };
}

function notFound(kind: "configMap" | "secret", name: string): Missing {
  return { missing: `${kind.toLowerCase()} ${JSON.stringify(name)} not found` };
}
