import { z } from "zod";
import { messageOf, SerinError } from "../../base/index.ts";

/** Resources of a proxy, as they stand in its config_dump. */
export interface ConfigDump {
  readonly bootstrap: unknown;
  readonly clusters: readonly unknown[];
  readonly listeners: readonly unknown[];
  readonly routes: readonly unknown[];
  readonly secrets: readonly unknown[];
  readonly endpoints: readonly unknown[];
}

const entries = z.array(z.record(z.string(), z.unknown())).default([]);
const section = z.object({
  "@type": z.string(),
  bootstrap: z.unknown().optional(),
  static_clusters: entries,
  dynamic_active_clusters: entries,
  static_listeners: entries,
  dynamic_listeners: entries,
  static_route_configs: entries,
  dynamic_route_configs: entries,
  static_secrets: entries,
  dynamic_active_secrets: entries,
  static_endpoint_configs: entries,
  dynamic_endpoint_configs: entries,
});
const dumpSchema = z.object({ configs: z.array(section) });

/** Reads Envoy's /config_dump (ours or Envoy's own). Throws SERIN_UNREADABLE_INPUT. */
export function parseConfigDump(text: string, source: string): ConfigDump {
  let sections: readonly z.infer<typeof section>[];
  try {
    sections = dumpSchema.parse(JSON.parse(text)).configs;
  } catch (error) {
    throw new SerinError(
      "SERIN_UNREADABLE_INPUT",
      `${source} is no config_dump: ${reasonOf(error)}`,
      {
        source: "caller",
        cause: error,
      },
    );
  }
  const pick = (field: string, ...lists: (keyof (typeof sections)[number])[]): unknown[] =>
    sections.flatMap((each) =>
      lists.flatMap((list) => {
        const rows = each[list];
        if (!Array.isArray(rows)) return [];
        return rows.map((row) => row[field]).filter((value) => value !== undefined);
      }),
    );
  return {
    bootstrap: sections.find((each) => each.bootstrap !== undefined)?.bootstrap,
    clusters: pick("cluster", "static_clusters", "dynamic_active_clusters"),
    listeners: [
      ...pick("listener", "static_listeners"),
      ...pick("active_state", "dynamic_listeners").map((state) => field(state, "listener")),
    ],
    routes: pick("route_config", "static_route_configs", "dynamic_route_configs"),
    // The whole entry: name and secret.
    secrets: sections.flatMap((each) => [...each.static_secrets, ...each.dynamic_active_secrets]),
    endpoints: pick("endpoint_config", "static_endpoint_configs", "dynamic_endpoint_configs"),
  };
}

function reasonOf(error: unknown): string {
  if (!(error instanceof z.ZodError)) return messageOf(error);
  return error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`).join("; ");
}

/** A field of a JSON value on the way down `path`; undefined where there is none. */
export function field(value: unknown, ...path: readonly (string | number)[]): unknown {
  let current = value;
  for (const key of path) {
    if (typeof current !== "object" || current === null || !Object.hasOwn(current, key)) {
      return undefined;
    }
    current = Reflect.get(current, key);
  }
  return current;
}

/** As `field`, for text and numbers; "" where there is none. */
export function textField(value: unknown, ...path: readonly (string | number)[]): string {
  const found = field(value, ...path);
  return typeof found === "string" || typeof found === "number" ? String(found) : "";
}

/** As `field`, for lists; empty where there is none. */
export function listField(
  value: unknown,
  ...path: readonly (string | number)[]
): readonly unknown[] {
  const found = field(value, ...path);
  return Array.isArray(found) ? found : [];
}
