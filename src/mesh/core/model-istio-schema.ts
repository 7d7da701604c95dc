import { z } from "zod";
import { tryParseDurationMs } from "../../base/index.ts";
import type {
  DestinationRuleSpec,
  GatewaySpec,
  HttpRoute,
  PeerAuthenticationSpec,
  PolicyBlocks,
  TrafficPolicy,
  VirtualServiceSpec,
} from "./model-istio.ts";

const text = z.string();
const texts = z.array(z.string());
const labels = z.record(z.string(), z.string());
const port = z.number().int().min(1).max(65_535);
const count = z.number().int().min(0).max(2_147_483_647);
const percent = z.object({ value: z.number().min(0).max(100).optional() });
const duration = z
  .string()
  .refine((value) => (tryParseDurationMs(value) ?? -1) >= 0, "must be a duration such as 1s");

const stringMatch = z.object({
  exact: text.optional(),
  prefix: text.optional(),
  regex: text.optional(),
});
const stringMatches = z.record(z.string(), stringMatch);

const destination = z.object({
  host: text.min(1),
  subset: text.optional(),
  port: z.object({ number: port.optional() }).optional(),
});

const headerOperations = z.object({
  set: labels.optional(),
  add: labels.optional(),
  remove: texts.optional(),
});
const headers = z.object({
  request: headerOperations.optional(),
  response: headerOperations.optional(),
});

const httpMatch = z.object({
  name: text.optional(),
  uri: stringMatch.optional(),
  scheme: stringMatch.optional(),
  method: stringMatch.optional(),
  authority: stringMatch.optional(),
  headers: stringMatches.optional(),
  withoutHeaders: stringMatches.optional(),
  queryParams: stringMatches.optional(),
  ignoreUriCase: z.boolean().optional(),
  port: count.optional(),
  sourceLabels: labels.optional(),
  sourceNamespace: text.optional(),
  gateways: texts.optional(),
});

const httpRoute: z.ZodType<HttpRoute> = z.object({
  name: text.optional(),
  match: z.array(httpMatch).optional(),
  route: z
    .array(
      z.object({
        destination,
        weight: z.number().int().min(0).max(2_147_483_647).optional(),
        headers: headers.optional(),
      }),
    )
    .optional(),
  redirect: z
    .object({
      uri: text.optional(),
      authority: text.optional(),
      port: port.optional(),
      derivePort: text.optional(),
      scheme: text.optional(),
      redirectCode: z
        .union([z.literal(0), z.literal(301), z.literal(302), z.literal(303)])
        .or(z.literal(307))
        .or(z.literal(308))
        .optional(),
    })
    .optional(),
  directResponse: z
    .object({
      status: z.number().int().min(200).max(599),
      body: z.object({ string: text.optional(), bytes: z.base64().optional() }).optional(),
    })
    .optional(),
  rewrite: z
    .object({
      uri: text.optional(),
      authority: text.optional(),
      uriRegexRewrite: z.object({ match: text.optional(), rewrite: text.optional() }).optional(),
    })
    .optional(),
  timeout: duration.optional(),
  retries: z
    .object({
      attempts: count.optional(),
      perTryTimeout: duration.optional(),
      retryOn: text.optional(),
      retryIgnorePreviousHosts: z.boolean().optional(),
      backoff: duration.optional(),
    })
    .optional(),
  fault: z
    .object({
      delay: z
        .object({
          fixedDelay: duration.optional(),
          percentage: percent.optional(),
          percent: z.number().min(0).max(100).optional(),
        })
        .optional(),
      abort: z
        .object({
          httpStatus: z.number().int().min(200).max(599).optional(),
          grpcStatus: text.optional(),
          percentage: percent.optional(),
        })
        .optional(),
    })
    .optional(),
  mirror: destination.optional(),
  mirrorPercentage: percent.optional(),
  mirrorPercent: z.number().min(0).max(100).optional(),
  mirrors: z.array(z.object({ destination, percentage: percent.optional() })).optional(),
  corsPolicy: z.unknown().optional(),
  headers: headers.optional(),
});

/** Reads what the translation needs of a VirtualService's spec; the rest is left alone. */
export const virtualServiceSchema: z.ZodType<VirtualServiceSpec> = z.object({
  hosts: z.array(text.min(1)).min(1),
  gateways: texts.optional(),
  exportTo: texts.optional(),
  http: z.array(httpRoute).optional(),
  tcp: z.unknown().optional(),
  tls: z.unknown().optional(),
});

const policyFields = {
  loadBalancer: z
    .object({ simple: text.optional(), consistentHash: z.unknown().optional() })
    .optional(),
  connectionPool: z
    .object({
      tcp: z
        .object({ maxConnections: count.optional(), connectTimeout: duration.optional() })
        .optional(),
      http: z
        .object({
          http1MaxPendingRequests: count.optional(),
          http2MaxRequests: count.optional(),
          maxRequestsPerConnection: count.optional(),
          maxRetries: count.optional(),
          idleTimeout: duration.optional(),
          h2UpgradePolicy: text.optional(),
          maxConcurrentStreams: count.optional(),
        })
        .optional(),
    })
    .optional(),
  outlierDetection: z
    .object({
      consecutiveErrors: count.optional(),
      consecutive5xxErrors: count.optional(),
      consecutiveGatewayErrors: count.optional(),
      splitExternalLocalOriginErrors: z.boolean().optional(),
      consecutiveLocalOriginFailures: count.optional(),
      interval: duration.optional(),
      baseEjectionTime: duration.optional(),
      maxEjectionPercent: z.number().int().min(0).max(100).optional(),
      minHealthPercent: z.number().int().min(0).max(100).optional(),
    })
    .optional(),
  tls: z
    .object({
      mode: z.enum(["DISABLE", "SIMPLE", "MUTUAL", "ISTIO_MUTUAL"]).optional(),
      clientCertificate: text.optional(),
      privateKey: text.optional(),
      caCertificates: text.optional(),
      subjectAltNames: texts.optional(),
      sni: text.optional(),
    })
    .optional(),
};

const portPolicy: z.ZodType<
  PolicyBlocks & { readonly port?: { readonly number?: number | undefined } | undefined }
> = z.object({ ...policyFields, port: z.object({ number: port.optional() }).optional() });

const trafficPolicy: z.ZodType<TrafficPolicy> = z.object({
  ...policyFields,
  portLevelSettings: z.array(portPolicy).optional(),
});

/** Reads what the translation needs of a DestinationRule's spec. */
export const destinationRuleSchema: z.ZodType<DestinationRuleSpec> = z.object({
  host: text.min(1),
  exportTo: texts.optional(),
  trafficPolicy: trafficPolicy.optional(),
  subsets: z
    .array(
      z.object({
        name: text.min(1),
        labels: labels.optional(),
        trafficPolicy: trafficPolicy.optional(),
      }),
    )
    .optional(),
});

const mutualTls = z.object({
  mode: z.enum(["UNSET", "DISABLE", "PERMISSIVE", "STRICT"]).optional(),
});

/** Reads a PeerAuthentication's spec. */
export const peerAuthenticationSchema: z.ZodType<PeerAuthenticationSpec> = z.object({
  selector: z.object({ matchLabels: labels.optional() }).optional(),
  mtls: mutualTls.optional(),
  portLevelMtls: z.record(z.string().regex(/^\d{1,5}$/), mutualTls).optional(),
});

/** Reads what the translation needs of a Gateway's spec. */
export const gatewaySchema: z.ZodType<GatewaySpec> = z.object({
  selector: labels.optional(),
  servers: z
    .array(
      z.object({
        port: z.object({ number: port, protocol: text.optional() }),
        hosts: z.array(text.min(1)).min(1),
        tls: z.object({ mode: text.optional(), httpsRedirect: z.boolean().optional() }).optional(),
      }),
    )
    .optional(),
});
