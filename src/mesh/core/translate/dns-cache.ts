import type { MessageTypes } from "../../../xds/index.ts";

/** Cluster.DnsLookupFamily.V4_PREFERRED */
const V4_PREFERRED = 3;

/** The cache of names that requests ask for; filter and clusters must say the same of it (Envoy). */
export const DNS_CACHE: MessageTypes["envoy.extensions.common.dynamic_forward_proxy.v3.DnsCacheConfig"] =
  { name: "requested", dns_lookup_family: V4_PREFERRED };
