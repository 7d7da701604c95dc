import type { StringMap, TelemetrySpec } from "../../api/index.ts";
import { listOf, objectOf, textOf } from "./model-object.ts";
import { levelsOf, type MeshTelemetry } from "./model-telemetry.ts";

type AccessLoggingSpec = NonNullable<TelemetrySpec["accessLogging"]>[number];

/** A file that proxies write an access log to (`envoyFileAccessLog` of MeshConfig). */
export interface AccessLogProvider {
  readonly name: string;
  readonly path: string;
  /** Text with Envoy's command operators, JSON by key, or undefined: the mesh's own format. */
  readonly format: string | Readonly<Record<string, unknown>> | undefined;
  readonly omitsEmptyValues: boolean;
}

/** What MeshConfig says of access logs. */
export interface AccessLogSettings {
  /** Istio's built-in `envoy`, and those that MeshConfig names. */
  readonly providers: readonly AccessLogProvider[];
  /** Where no Telemetry says anything; undefined: as the control plane was started. */
  readonly defaultProviders: readonly string[] | undefined;
}

/** Istio's provider for the proxy's standard output. */
export const BUILT_IN_PROVIDER = "envoy";
const STANDARD_OUTPUT = "/dev/stdout";
/** Istio's text format. Source: Istio, "Getting Envoy's Access Logs", default format. */
const TEXT_FORMAT =
  '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% ' +
  "%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% " +
  '"%UPSTREAM_TRANSPORT_FAILURE_REASON%" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% ' +
  '%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" ' +
  '"%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER_RAW% ' +
  "%UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% " +
  "%REQUESTED_SERVER_NAME% %ROUTE_NAME%\n";

const BUILT_IN: AccessLogProvider = {
  name: BUILT_IN_PROVIDER,
  path: STANDARD_OUTPUT,
  format: undefined,
  omitsEmptyValues: false,
};

export const DEFAULT_ACCESS_LOGGING: AccessLogSettings = {
  providers: [BUILT_IN],
  defaultProviders: undefined,
};

/**
 * Reads MeshConfig's part of access logs: `accessLogFile` ("" = none), `accessLogEncoding` (TEXT or JSON),
 * `accessLogFormat`, `envoyFileAccessLog` providers, `defaultProviders.accessLogging`. What is wrong is
 * left out and said by `report`.
 */
export function accessLogSettingsFrom(
  config: Readonly<Record<string, unknown>>,
  report: (message: string) => void,
): AccessLogSettings {
  const providers = listOf(config["extensionProviders"]).flatMap((each) => {
    const { name, envoyFileAccessLog: found } = objectOf(each);
    if (found === undefined || textOf(name) === undefined) return [];
    return [fileProvider(String(name), objectOf(found))];
  });
  const file = config["accessLogFile"];
  const builtIn: AccessLogProvider = {
    ...BUILT_IN,
    path: textOf(file) ?? STANDARD_OUTPUT,
    format: builtInFormat(config, report),
  };
  const named = listOf(objectOf(config["defaultProviders"])["accessLogging"]).map(String);
  const isOff = file === "";
  return {
    providers: [builtIn, ...providers],
    defaultProviders:
      named.length > 0 ? named : isOff ? [] : file === undefined ? undefined : [BUILT_IN_PROVIDER],
  };
}

function fileProvider(name: string, fields: Readonly<Record<string, unknown>>): AccessLogProvider {
  const logFormat = objectOf(fields["logFormat"]);
  const labels = logFormat["labels"];
  return {
    name,
    path: textOf(fields["path"]) ?? STANDARD_OUTPUT,
    format: textOf(logFormat["text"]) ?? (labels === undefined ? undefined : objectOf(labels)),
    omitsEmptyValues: fields["omitEmptyValues"] === true,
  };
}

function builtInFormat(
  config: Readonly<Record<string, unknown>>,
  report: (message: string) => void,
): AccessLogProvider["format"] {
  const { accessLogEncoding: encoding, accessLogFormat } = config;
  const format = textOf(accessLogFormat);
  if (encoding !== undefined && encoding !== "TEXT" && encoding !== "JSON") {
    report(
      `mesh: accessLogEncoding must be TEXT or JSON (found ${JSON.stringify(encoding)}); JSON is used`,
    );
  }
  if (encoding !== "TEXT") {
    if (format === undefined) return undefined;
    try {
      return objectOf(JSON.parse(format));
    } catch {
      // A format that is no JSON is one of text.
      return ended(format);
    }
  }
  return format === undefined ? TEXT_FORMAT : ended(format);
}

function ended(format: string): string {
  return format.endsWith("\n") ? format : `${format}\n`;
}

/**
 * The logs that a workload's proxy writes of one direction. What Telemetries of mesh, namespace and
 * workload say counts in that order: providers that are named replace those before, and disabled ones
 * go. Source: Istio, "Telemetry", AccessLogging.
 */
export function accessLogsOf(
  telemetries: readonly MeshTelemetry[],
  settings: AccessLogSettings,
  workload: { readonly namespace: string; readonly labels: StringMap },
  direction: "inbound" | "outbound",
  rootNamespace: string,
  isOnByDefault: boolean,
): readonly AccessLogProvider[] {
  const fallback = settings.defaultProviders ?? (isOnByDefault ? [BUILT_IN_PROVIDER] : []);
  let names: readonly string[] = fallback;
  for (const { accessLogging } of levelsOf(telemetries, workload, rootNamespace)) {
    const specs = accessLogging.filter((spec) => countsFor(spec, direction));
    const chosen = specs.filter(({ disabled }) => disabled !== true);
    const on = chosen.flatMap(({ providers = [] }) => providers.map(({ name }) => name));
    if (on.length > 0) names = [...new Set(on)];
    // Saying that there shall be a log is enough where nothing said which.
    else if (chosen.length > 0 && names.length === 0) names = [BUILT_IN_PROVIDER];
    for (const { disabled, providers = [] } of specs) {
      if (disabled !== true) continue;
      const off = new Set(providers.map(({ name }) => name));
      names = off.size === 0 ? [] : names.filter((name) => !off.has(name));
    }
  }
  return names.flatMap((name) => settings.providers.find((each) => each.name === name) ?? []);
}

function countsFor({ match }: AccessLoggingSpec, direction: "inbound" | "outbound"): boolean {
  const mode = match?.mode ?? "CLIENT_AND_SERVER";
  return mode === "CLIENT_AND_SERVER" || (mode === "SERVER") === (direction === "inbound");
}

/** What an accessLogging says that has no effect, given MeshConfig's providers. */
export function ignoredAccessLogging(
  { accessLogging = [] }: TelemetrySpec,
  { providers }: AccessLogSettings,
): readonly string[] {
  return accessLogging.flatMap(({ providers: named = [] }, i) =>
    named
      .filter(({ name }) => !providers.some((provider) => provider.name === name))
      .map(
        ({ name }) =>
          `accessLogging[${i}] names the provider ${name}, which MeshConfig does not have`,
      ),
  );
}
