import { z } from "zod";
import { freeForm, text } from "../fields.ts";
import { regex } from "../istio/http-match.ts";
import type { KubeObject } from "../meta.ts";
import { parseSpec } from "../parse-resource.ts";
import { rules } from "../rules.ts";
import { backendList, filterList, grpcFilter } from "./filters.ts";
import { headerMatch } from "./http-route.ts";
import { hostname, parentRefs, ruleNameProblems, sectionName } from "./references.ts";

const SERVICE = /^[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*$/;
const METHOD = /^[A-Za-z_][A-Za-z0-9_]*$/;

const method = z
  .strictObject({
    type: z.enum(["Exact", "RegularExpression"]).optional(),
    service: text.max(1024).optional(),
    method: text.max(1024).optional(),
  })
  .superRefine(
    rules(function* ({ type = "Exact", ...names }) {
      if (!names.service && !names.method) yield [[], "must have a service or a method"];
      for (const field of ["service", "method"] as const) {
        const found = names[field];
        if (!found) continue;
        if (type === "RegularExpression") {
          if (!regex.safeParse(found).success) yield [[field], "must be an RE2 expression"];
        } else if (!(field === "service" ? SERVICE : METHOD).test(found)) {
          yield [[field], `must be the name of a gRPC ${field}`];
        }
      }
    }),
  );

const match = z.strictObject({
  method: method.optional(),
  headers: z.array(headerMatch).max(16).optional(),
});
export type GrpcRouteMatch = z.infer<typeof match>;

const rule = z.strictObject({
  name: sectionName.optional(),
  matches: z.array(match).max(64).optional(),
  filters: filterList(grpcFilter).optional(),
  backendRefs: backendList(grpcFilter).optional(),
  sessionPersistence: freeForm.optional(),
});
export type GrpcRouteRule = z.infer<typeof rule>;

/** Schema of a GRPCRoute's spec (gateway.networking.k8s.io). */
export const grpcRouteSpec = z.strictObject({
  parentRefs: parentRefs.optional(),
  hostnames: z.array(hostname).max(16).optional(),
  rules: z.array(rule).max(16).superRefine(rules(ruleNameProblems)).optional(),
  useDefaultGateways: text.optional(),
});
export type GrpcRouteSpec = z.infer<typeof grpcRouteSpec>;

/** Reads a GRPCRoute. Throws SERIN_INVALID_RESOURCE that lists every bad path. */
export function parseGrpcRoute(object: KubeObject): GrpcRouteSpec {
  return parseSpec(object, grpcRouteSpec);
}
