import { z } from "zod";
import { count, port, stringMap, text } from "../fields.ts";
import type { KubeObject } from "../meta.ts";
import { parseSpec } from "../parse-resource.ts";
import { rules } from "../rules.ts";
import { isIpAddress, isWildcardDomain } from "./host-name.ts";

/** Whether an address is one that endpoints may have: an IP address, a name or a socket's path. */
export function isEndpointAddress(address: string): boolean {
  if (address.startsWith("unix://")) return /^unix:\/\/(?:\/|@).+/.test(address);
  return isIpAddress(address) || (isWildcardDomain(address) && !address.startsWith("*"));
}

/** The fields of a WorkloadEntry, which are those of a ServiceEntry's endpoint too. */
export const endpointFields = {
  /** Empty only where `network` says that a gateway leads there. */
  address: text.optional(),
  /** By name of the service's port. */
  ports: z.record(z.string(), port).optional(),
  labels: stringMap.optional(),
  network: text.optional(),
  /** `region/zone/subzone`. */
  locality: text.optional(),
  weight: count.optional(),
  serviceAccount: text.optional(),
};

/** Schema of a WorkloadEntry's spec (networking.istio.io). */
export const workloadEntrySpec = z.strictObject(endpointFields).superRefine(
  rules(function* ({ address = "", ports, network }) {
    if (address === "") {
      if (!network) yield [["address"], "is required"];
      return;
    }
    if (!isEndpointAddress(address)) {
      yield [["address"], `must be an IP address, a host name or unix:///path (found ${address})`];
    }
    if (address.startsWith("unix://") && Object.keys(ports ?? {}).length > 0) {
      yield [["ports"], "cannot be set with a unix address"];
    }
  }),
);
export type WorkloadEntrySpec = z.infer<typeof workloadEntrySpec>;

/** Reads a WorkloadEntry. Throws SERIN_INVALID_RESOURCE that lists every bad path. */
export function parseWorkloadEntry(object: KubeObject): WorkloadEntrySpec {
  return parseSpec(object, workloadEntrySpec);
}
