import type { Analyzer } from "../context.ts";

/** Telemetries that name nobody to tell. */
export const telemetriesAnalyzer: Analyzer = {
  name: "telemetries",
  description: "Telemetries with an empty list of providers",
  codes: ["IST0157"],
  *analyze({ telemetries }) {
    for (const { object, namespace, name, spec } of telemetries) {
      for (const kind of ["accessLogging", "metrics", "tracing"] as const) {
        for (const [i, { providers }] of (spec[kind] ?? []).entries()) {
          if (providers === undefined || providers.length > 0) continue;
          const message = `The providers of ${kind}[${i}] of Telemetry ${namespace}/${name} are an empty list, which is as none at all: those of MeshConfig count.`;
          yield { code: "IST0157", object, message, path: ["spec", kind, i, "providers"] };
        }
      }
    }
  },
};
