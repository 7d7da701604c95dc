import { listOf, objectOf, portOf, textOf } from "./model-object.ts";

/** A collector that MeshConfig names (`extensionProviders`). */
export interface TracingProvider {
  readonly name: string;
  readonly kind: "zipkin" | "opentelemetry";
  /** A host of the mesh; a namespace before it (`ns/host`) is left out. */
  readonly host: string;
  readonly port: number;
  /** 0 = the default. */
  readonly maxTagLength: number;
  /** Of HTTP; undefined = the default of the kind, which is gRPC for OpenTelemetry. */
  readonly path: string | undefined;
  readonly uses64BitIds: boolean;
}

/** What MeshConfig says of tracing. */
export interface TracingSettings {
  readonly providers: readonly TracingProvider[];
  /** Where no Telemetry names one; "" = none. */
  readonly defaultProvider: string;
  /** 0..100 */
  readonly samplingPercent: number;
}

/** Istio's default: PILOT_TRACE_SAMPLING. */
const DEFAULT_SAMPLING_PERCENT = 1;

export const DEFAULT_TRACING: TracingSettings = {
  providers: [],
  defaultProvider: "",
  samplingPercent: DEFAULT_SAMPLING_PERCENT,
};

/** Reads MeshConfig's part of tracing. What is wrong is left out and said by `report`. */
export function tracingSettingsFrom(
  config: Readonly<Record<string, unknown>>,
  report: (message: string) => void,
): TracingSettings {
  const sampling = objectOf(objectOf(config["defaultConfig"])["tracing"])["sampling"];
  return {
    providers: listOf(config["extensionProviders"]).flatMap((each, i) => {
      if (objectOf(each)["envoyFileAccessLog"] !== undefined) return [];
      const provider = providerFrom(objectOf(each));
      if (typeof provider !== "string") return [provider];
      report(`mesh: extensionProviders[${i}]: ${provider}`);
      return [];
    }),
    defaultProvider: textOf(listOf(objectOf(config["defaultProviders"])["tracing"])[0]) ?? "",
    samplingPercent: percentOf(sampling) ?? DEFAULT_SAMPLING_PERCENT,
  };
}

const ONLY_THESE = "only zipkin, opentelemetry and envoyFileAccessLog";

/** 0..100; undefined for anything else. */
function percentOf(value: unknown): number | undefined {
  return typeof value === "number" && value >= 0 && value <= 100 ? value : undefined;
}

/** The provider, or what is wrong with it. */
function providerFrom(fields: Readonly<Record<string, unknown>>): TracingProvider | string {
  const name = textOf(fields["name"]);
  if (name === undefined) return "has no name";
  const kind = (["zipkin", "opentelemetry"] as const).find((each) => fields[each] !== undefined);
  if (kind === undefined) return `${name}: ${ONLY_THESE} have an effect`;
  const settings = objectOf(fields[kind]);
  const service = textOf(settings["service"]);
  const port = portOf(settings["port"]);
  if (service === undefined || port === undefined) return `${name}: needs service and port`;
  const http = kind === "opentelemetry" ? objectOf(settings["http"]) : settings;
  const isHttp = kind === "zipkin" || settings["http"] !== undefined;
  const length = settings["maxTagLength"];
  return {
    name,
    kind,
    host: service.slice(service.indexOf("/") + 1),
    port,
    maxTagLength: typeof length === "number" ? length : 0,
    path: isHttp
      ? (textOf(http["path"]) ?? (kind === "zipkin" ? "/api/v2/spans" : "/"))
      : undefined,
    uses64BitIds: settings["enable64bitTraceId"] === true,
  };
}
