/** The data plane: a proxy configured by xDS alone. */
export { type Bootstrap, parseBootstrap } from "./config/bootstrap.ts";
export { type RunningProxy, type RunProxyOptions, runProxy } from "./run-proxy.ts";
export { sidecarBootstrap } from "./sidecar-bootstrap.ts";
