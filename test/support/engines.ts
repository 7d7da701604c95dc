import { findTool, skipWithout } from "./tools.ts";

/** The programs that sidecars can be. */
export const ENGINES = ["serin", "envoy"] as const;
export type Engine = (typeof ENGINES)[number];

/** The label of a namespace that makes its sidecars this program. */
export function engineLabel(engine: Engine): string {
  return `proxy.serin.dev/engine=${engine}`;
}

/**
 * For node:test's `skip` option: what a cluster with such sidecars lacks here. With Envoy, `serin up`
 * learns from the environment where it is.
 */
export function skipWithoutEngine(engine: Engine): string | false {
  const skip = skipWithout("kubectl") || (engine === "envoy" && skipWithout("envoy"));
  if (skip === false && engine === "envoy") process.env["ENVOY_BIN"] = findTool("envoy");
  return skip;
}
