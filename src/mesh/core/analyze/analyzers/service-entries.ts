import type { Analyzer } from "../context.ts";

/** Ports of ServiceEntries that nothing tells from those of others. */
export const serviceEntriesAnalyzer: Analyzer = {
  name: "service entries",
  description: "TCP ports without addresses",
  codes: ["IST0134"],
  *analyze({ serviceEntries }) {
    for (const { object, spec } of serviceEntries) {
      // Proxies tell DNS names of DYNAMIC_DNS by the request, not by the address.
      if ((spec.addresses ?? []).length > 0 || spec.resolution === "DYNAMIC_DNS") continue;
      for (const [i, { number, protocol = "" }] of (spec.ports ?? []).entries()) {
        if (!["", "TCP"].includes(protocol.toUpperCase())) continue;
        yield {
          code: "IST0134",
          object,
          message: `Port ${number} is TCP, which is told apart by addresses only, and there are none: set spec.addresses.`,
          path: ["spec", "ports", i],
        };
      }
    }
  },
};
