import { localityLbSetting } from "../../api/index.ts";
import {
  type AccessLogSettings,
  accessLogSettingsFrom,
  DEFAULT_ACCESS_LOGGING,
} from "./model-access-logging.ts";
import type { LocalityLbSetting } from "./model-istio.ts";
import { objectOf } from "./model-object.ts";
import {
  DEFAULT_TRACING,
  type TracingSettings,
  tracingSettingsFrom,
} from "./model-tracing-settings.ts";

/** Settings of the whole mesh (the part of Istio's MeshConfig that counts here). */
export interface MeshSettings {
  /** What becomes of requests to hosts that nobody knows. */
  readonly outboundMode: "ALLOW_ANY" | "REGISTRY_ONLY";
  readonly pathNormalization: "NONE" | "BASE" | "MERGE_SLASHES" | "DECODE_AND_MERGE_SLASHES";
  /** Of every service that sets none itself. */
  readonly localityLbSetting: LocalityLbSetting;
  readonly tracing: TracingSettings;
  readonly accessLogging: AccessLogSettings;
}

/** Istio's defaults. */
export const DEFAULT_SETTINGS: MeshSettings = {
  outboundMode: "ALLOW_ANY",
  pathNormalization: "BASE",
  localityLbSetting: { enabled: true },
  tracing: DEFAULT_TRACING,
  accessLogging: DEFAULT_ACCESS_LOGGING,
};

const NORMALIZATIONS = ["NONE", "BASE", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"] as const;
const MODES = ["ALLOW_ANY", "REGISTRY_ONLY"] as const;

/**
 * Reads a MeshConfig that was YAML. What is wrong keeps its default and is said by `report`, and so
 * is a field that has no effect.
 */
export function meshSettingsFrom(config: unknown, report: (message: string) => void): MeshSettings {
  const fields = objectOf(config);
  const policy = objectOf(fields["outboundTrafficPolicy"]);
  const normalization = objectOf(fields["pathNormalization"]);
  for (const key of Object.keys(fields)) {
    if (!KNOWN.has(key)) report(`mesh: ${key} has no effect`);
  }
  return {
    outboundMode: oneOf(
      MODES,
      policy["mode"],
      DEFAULT_SETTINGS.outboundMode,
      "outboundTrafficPolicy.mode",
      report,
    ),
    pathNormalization: oneOf(
      NORMALIZATIONS,
      normalization["normalization"] === "DEFAULT" ? undefined : normalization["normalization"],
      DEFAULT_SETTINGS.pathNormalization,
      "pathNormalization.normalization",
      report,
    ),
    localityLbSetting: localitiesFrom(fields["localityLbSetting"], report),
    tracing: tracingSettingsFrom(fields, report),
    accessLogging: accessLogSettingsFrom(fields, report),
  };
}

function localitiesFrom(found: unknown, report: (message: string) => void): LocalityLbSetting {
  const read = localityLbSetting.safeParse(found ?? {});
  if (read.success) return { ...DEFAULT_SETTINGS.localityLbSetting, ...read.data };
  for (const { path, message } of read.error.issues) {
    report(`mesh: ${["localityLbSetting", ...path].join(".")}: ${message}`);
  }
  return DEFAULT_SETTINGS.localityLbSetting;
}

const KNOWN = new Set([
  "outboundTrafficPolicy",
  "pathNormalization",
  "localityLbSetting",
  "extensionProviders",
  "defaultProviders",
  "defaultConfig",
  "accessLogFile",
  "accessLogEncoding",
  "accessLogFormat",
]);

function oneOf<Value extends string>(
  allowed: readonly Value[],
  found: unknown,
  fallback: Value,
  path: string,
  report: (message: string) => void,
): Value {
  if (found === undefined) return fallback;
  const known = allowed.find((each) => each === found);
  if (known !== undefined) return known;
  report(
    `mesh: ${path} must be one of ${allowed.join(", ")} (found ${JSON.stringify(found)}); ${fallback} is used`,
  );
  return fallback;
}
