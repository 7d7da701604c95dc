/** The data plane: a proxy configured by xDS alone. */
export { type Bootstrap, parseBootstrap } from "./config/bootstrap.ts";
export { parseJwks } from "./core/compile/jwt.ts";
export {
  type DryRequest,
  dryForwardedTarget,
  dryHash,
  dryHashedHost,
  dryNormalizedTarget,
  dryPolicyMatches,
  dryRouteMatches,
  drySubject,
  dryVirtualHost,
} from "./core/dry-run.ts";
export { type DryTokens, dryTokens } from "./core/dry-run-token.ts";
export { type RunningProxy, type RunProxyOptions, runProxy } from "./run-proxy.ts";
export { sidecarBootstrap } from "./sidecar-bootstrap.ts";
