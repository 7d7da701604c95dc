import type { MessageTypes } from "../../../xds/index.ts";

/** ApiVersion.V3 */
const V3 = 2;

/** Everything dynamic comes over the one ADS stream. */
export const ADS: MessageTypes["envoy.config.core.v3.ConfigSource"] = {
  ads: {},
  resource_api_version: V3,
  // Istio's: wait for ever rather than run with half a configuration.
  initial_fetch_timeout: { seconds: 0 },
};
