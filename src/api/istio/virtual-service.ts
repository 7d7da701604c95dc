import { z } from "zod";
import {
  count,
  duration,
  freeForm,
  name,
  percent,
  percentNumber,
  port,
  positiveDuration,
  stringMap,
  text,
  texts,
} from "../fields.ts";
import type { KubeObject } from "../meta.ts";
import { parseSpec } from "../parse-resource.ts";
import { headers, httpMatch, stringMatch } from "./http-match.ts";

const destination = z.strictObject({
  host: name,
  subset: text.optional(),
  port: z.strictObject({ number: port.optional() }).optional(),
});

const weighted = { destination, weight: z.int().min(0).max(100).optional() };

export const corsPolicy = z.strictObject({
  allowOrigin: texts.optional(),
  allowOrigins: z.array(stringMatch).optional(),
  allowMethods: texts.optional(),
  allowHeaders: texts.optional(),
  exposeHeaders: texts.optional(),
  maxAge: duration.optional(),
  allowCredentials: z.boolean().optional(),
  unmatchedPreflights: z.enum(["UNSPECIFIED", "FORWARD", "IGNORE"]).optional(),
});

export const httpRetry = z.strictObject({
  attempts: count.optional(),
  perTryTimeout: positiveDuration.optional(),
  retryOn: text.optional(),
  retryRemoteLocalities: z.boolean().optional(),
  retryIgnorePreviousHosts: z.boolean().optional(),
  backoff: duration.optional(),
});

const fault = z.strictObject({
  delay: z
    .strictObject({
      percent: percentNumber.optional(),
      percentage: percent.optional(),
      fixedDelay: positiveDuration.optional(),
      exponentialDelay: positiveDuration.optional(),
    })
    .optional(),
  abort: z
    .strictObject({
      percent: percentNumber.optional(),
      percentage: percent.optional(),
      httpStatus: z.int().min(200).max(599).optional(),
      grpcStatus: text.optional(),
      http2Error: text.optional(),
    })
    .optional(),
});

const httpRoute = z
  .strictObject({
    name: text.optional(),
    match: z.array(httpMatch).optional(),
    route: z.array(z.strictObject({ ...weighted, headers: headers.optional() })).optional(),
    redirect: z
      .strictObject({
        uri: text.optional(),
        authority: text.optional(),
        port: port.optional(),
        derivePort: z.enum(["FROM_PROTOCOL_DEFAULT", "FROM_REQUEST_PORT"]).optional(),
        scheme: text.optional(),
        redirectCode: z.int().optional(),
      })
      .optional(),
    directResponse: z
      .strictObject({
        status: z.int().min(200).max(599),
        body: z.strictObject({ string: text.optional(), bytes: text.optional() }).optional(),
      })
      .optional(),
    delegate: z.strictObject({ name: text.optional(), namespace: text.optional() }).optional(),
    rewrite: z
      .strictObject({
        uri: text.optional(),
        authority: text.optional(),
        uriRegexRewrite: z
          .strictObject({ match: text.optional(), rewrite: text.optional() })
          .optional(),
      })
      .optional(),
    timeout: duration.optional(),
    retries: httpRetry.optional(),
    fault: fault.optional(),
    mirror: destination.optional(),
    mirrorPercent: percentNumber.optional(),
    mirror_percent: percentNumber.optional(),
    mirrorPercentage: percent.optional(),
    mirrors: z.array(z.strictObject({ destination, percentage: percent.optional() })).optional(),
    corsPolicy: corsPolicy.optional(),
    headers: headers.optional(),
  })
  .refine(
    ({ route, redirect, directResponse, delegate }) =>
      (route ?? []).length > 0 ||
      redirect !== undefined ||
      directResponse !== undefined ||
      delegate !== undefined,
    "HTTP route must have a route, redirect, directResponse or delegate",
  )
  .refine(({ route = [] }) => route.length < 2 || route.some(({ weight = 0 }) => weight > 0), {
    path: ["route"],
    error: "total destination weight must be more than 0",
  })
  .refine(({ route = [] }) => route.length < 2 || total(route) <= 100, {
    path: ["route"],
    error: "total destination weight must not be more than 100",
  })
  .refine(({ redirect, route }) => redirect === undefined || (route ?? []).length === 0, {
    path: ["redirect"],
    error: "HTTP route cannot contain both route and redirect",
  });

function total(route: readonly { readonly weight?: number | undefined }[]): number {
  return route.reduce((sum, { weight = 0 }) => sum + weight, 0);
}

const l4Match = {
  destinationSubnets: texts.optional(),
  port: count.optional(),
  sourceLabels: stringMap.optional(),
  gateways: texts.optional(),
  sourceNamespace: text.optional(),
};
const l4Route = z.array(z.strictObject(weighted));

const spec = z.strictObject({
  hosts: z.array(name).default([]),
  gateways: texts.optional(),
  http: z.array(httpRoute).optional(),
  tls: z
    .array(
      z.strictObject({
        match: z.array(z.strictObject({ sniHosts: z.array(name).min(1), ...l4Match })).min(1),
        route: l4Route,
      }),
    )
    .optional(),
  tcp: z
    .array(
      z.strictObject({
        match: z.array(z.strictObject({ ...l4Match, sourceSubnet: text.optional() })).optional(),
        route: l4Route,
      }),
    )
    .optional(),
  exportTo: texts.optional(),
});

/** Schema of a VirtualService's spec (networking.istio.io). */
export const virtualServiceSpec = spec;
export type VirtualServiceSpec = z.infer<typeof spec>;
export type HttpRoute = NonNullable<VirtualServiceSpec["http"]>[number];
/** Kinds' status belongs to whoever writes it. */
export const anyStatus = freeForm;

/** Reads a VirtualService. Throws SERIN_INVALID_RESOURCE that lists every bad path. */
export function parseVirtualService(object: KubeObject): VirtualServiceSpec {
  return parseSpec(object, spec);
}
