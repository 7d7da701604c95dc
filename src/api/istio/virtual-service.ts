import { z } from "zod";
import { tryParseDurationMs } from "../../base/index.ts";
import {
  count,
  duration,
  freeForm,
  name,
  percent,
  percentNumber,
  port,
  stringMap,
  text,
  texts,
} from "../fields.ts";
import type { KubeObject } from "../meta.ts";
import { parseSpec } from "../parse-resource.ts";
import { type Problem, rules } from "../rules.ts";
import { exportTo } from "./export-to.ts";
import { httpFault } from "./fault.ts";
import { isIpAddress, isWildcardDomain, overlaps, serviceHost, subsetName } from "./host-name.ts";
import { headers, httpMatch, matchPort, regex, stringMatch } from "./http-match.ts";
import { httpRouteProblems, weightProblems } from "./http-route-rules.ts";
import { httpRetry } from "./retry.ts";

const REDIRECT_CODES: readonly number[] = [0, 301, 302, 303, 307, 308];

const destination = z.strictObject({
  host: serviceHost.refine((host) => host !== "*", "must not be *"),
  subset: subsetName.optional(),
  port: z.strictObject({ number: port }).optional(),
});

const weighted = { destination, weight: count.optional() };

export const corsPolicy = z.strictObject({
  allowOrigin: texts.optional(),
  allowOrigins: z.array(stringMatch).optional(),
  allowMethods: texts.optional(),
  allowHeaders: texts.optional(),
  exposeHeaders: texts.optional(),
  maxAge: duration
    .refine((value) => (tryParseDurationMs(value) ?? 0) % 1000 === 0, "must be in whole seconds")
    .optional(),
  allowCredentials: z.boolean().optional(),
  unmatchedPreflights: z.enum(["UNSPECIFIED", "FORWARD", "IGNORE"]).optional(),
});

const redirect = z
  .strictObject({
    uri: text.optional(),
    authority: text.optional(),
    port: port.optional(),
    derivePort: z.enum(["FROM_PROTOCOL_DEFAULT", "FROM_REQUEST_PORT"]).optional(),
    scheme: z.enum(["", "http", "https"]).optional(),
    /** 0 = 301. */
    redirectCode: z
      .int()
      .refine((code) => REDIRECT_CODES.includes(code), {
        error: (issue) => `must be 301, 302, 303, 307 or 308 (found ${issue.input})`,
      })
      .optional(),
  })
  .superRefine(
    rules(function* (to) {
      const isEmpty =
        !(to.uri || to.authority || to.scheme) && (to.port ?? to.derivePort) === undefined;
      if (isEmpty) yield [[], "must have a uri, authority, scheme, port or derivePort"];
      if (to.port !== undefined && to.derivePort !== undefined) {
        yield [["derivePort"], "cannot be set together with port"];
      }
    }),
  );

const rewrite = z
  .strictObject({
    uri: text.optional(),
    authority: text.optional(),
    uriRegexRewrite: z.strictObject({ match: regex, rewrite: name }).optional(),
  })
  .superRefine(
    rules(function* ({ uri, authority, uriRegexRewrite }) {
      if (uri && uriRegexRewrite !== undefined) {
        yield [["uriRegexRewrite"], "cannot be set together with uri"];
      }
      if (!(uri || authority) && uriRegexRewrite === undefined) {
        yield [[], "must have a uri, uriRegexRewrite or authority"];
      }
    }),
  );

const httpRoute = z
  .strictObject({
    name: text.optional(),
    match: z.array(httpMatch).optional(),
    route: z
      .array(z.strictObject({ ...weighted, headers: headers.optional() }))
      .superRefine(rules(weightProblems))
      .optional(),
    redirect: redirect.optional(),
    directResponse: z
      .strictObject({
        status: z.int().min(200).max(599),
        body: z.strictObject({ string: text.optional(), bytes: text.optional() }).optional(),
      })
      .optional(),
    delegate: z.strictObject({ name: text.optional(), namespace: text.optional() }).optional(),
    rewrite: rewrite.optional(),
    timeout: duration.optional(),
    retries: httpRetry.optional(),
    fault: httpFault.optional(),
    mirror: destination.optional(),
    mirrorPercent: percentNumber.optional(),
    mirror_percent: percentNumber.optional(),
    mirrorPercentage: percent.optional(),
    mirrors: z.array(z.strictObject({ destination, percentage: percent.optional() })).optional(),
    corsPolicy: corsPolicy.optional(),
    headers: headers.optional(),
  })
  .superRefine(rules(httpRouteProblems));

const l4Match = {
  destinationSubnets: texts.optional(),
  port: matchPort.optional(),
  sourceLabels: stringMap.optional(),
  gateways: texts.optional(),
  sourceNamespace: text.optional(),
};
const l4Route = z.array(z.strictObject(weighted)).min(1).superRefine(rules(weightProblems));

const spec = z
  .strictObject({
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
    exportTo: exportTo.optional(),
  })
  .superRefine(rules(virtualServiceProblems));

interface VirtualServiceFields {
  readonly hosts: readonly string[];
  readonly gateways?: readonly string[] | undefined;
  readonly http?: readonly { readonly delegate?: unknown }[] | undefined;
  readonly tls?: readonly unknown[] | undefined;
  readonly tcp?: readonly unknown[] | undefined;
}

function* virtualServiceProblems(service: VirtualServiceFields): Generator<Problem> {
  const { hosts, http = [] } = service;
  if ([...http, ...(service.tls ?? []), ...(service.tcp ?? [])].length === 0) {
    yield [[], "must have http, tls or tcp routes"];
  }
  if (hosts.length === 0) {
    // Without hosts it is what another one delegates to.
    for (const field of ["gateways", "tls", "tcp"] as const) {
      if ((service[field] ?? []).length > 0) yield [[field], "cannot be set without hosts"];
    }
    for (const [index, route] of http.entries()) {
      if (route.delegate !== undefined) {
        yield [["http", index, "delegate"], "cannot be set in what is delegated to"];
      }
    }
  }
  for (const [index, host] of hosts.entries()) {
    if (!isWildcardDomain(host) && !isIpAddress(host)) {
      yield [["hosts", index], `must be a host name (found ${JSON.stringify(host)})`];
    }
    const earlier = hosts.slice(0, index).find((other) => overlaps(other, host));
    if (earlier !== undefined) {
      yield [["hosts", index], `duplicate host: ${host} and ${earlier}`];
    }
  }
}

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
