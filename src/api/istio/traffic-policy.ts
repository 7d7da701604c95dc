import { z } from "zod";
import {
  count,
  duration,
  name,
  percentNumber,
  port,
  positiveDuration,
  stringMap,
  text,
  texts,
} from "../fields.ts";

const consistentHash = z.strictObject({
  httpHeaderName: text.optional(),
  httpCookie: z
    .strictObject({
      name,
      path: text.optional(),
      ttl: duration.optional(),
      attributes: z
        .array(z.strictObject({ name: text.optional(), value: text.optional() }))
        .optional(),
    })
    .optional(),
  useSourceIp: z.boolean().optional(),
  httpQueryParameterName: text.optional(),
  ringHash: z.strictObject({ minimumRingSize: count.optional() }).optional(),
  maglev: z.strictObject({ tableSize: count.optional() }).optional(),
  minimumRingSize: count.optional(),
});

const localityLbSetting = z.strictObject({
  distribute: z
    .array(z.strictObject({ from: text.optional(), to: z.record(z.string(), count).optional() }))
    .optional(),
  failover: z.array(z.strictObject({ from: text.optional(), to: text.optional() })).optional(),
  failoverPriority: texts.optional(),
  enabled: z.boolean().optional(),
});

const loadBalancer = z.strictObject({
  simple: z
    .enum(["UNSPECIFIED", "LEAST_CONN", "RANDOM", "PASSTHROUGH", "ROUND_ROBIN", "LEAST_REQUEST"])
    .optional(),
  consistentHash: consistentHash.optional(),
  localityLbSetting: localityLbSetting.optional(),
  warmupDurationSecs: duration.optional(),
  warmup: z
    .strictObject({
      duration: positiveDuration,
      minimumPercent: percentNumber.optional(),
      aggression: z.number().min(1).optional(),
    })
    .optional(),
});

const connectionPool = z.strictObject({
  tcp: z
    .strictObject({
      maxConnections: count.optional(),
      connectTimeout: positiveDuration.optional(),
      tcpKeepalive: z
        .strictObject({
          probes: count.optional(),
          time: duration.optional(),
          interval: duration.optional(),
        })
        .optional(),
      maxConnectionDuration: duration.optional(),
      idleTimeout: duration.optional(),
    })
    .optional(),
  http: z
    .strictObject({
      http1MaxPendingRequests: count.optional(),
      http2MaxRequests: count.optional(),
      maxRequestsPerConnection: count.optional(),
      maxRetries: count.optional(),
      idleTimeout: duration.optional(),
      h2UpgradePolicy: z.enum(["DEFAULT", "DO_NOT_UPGRADE", "UPGRADE"]).optional(),
      useClientProtocol: z.boolean().optional(),
      maxConcurrentStreams: count.optional(),
    })
    .optional(),
});

const outlierDetection = z.strictObject({
  /** Of Istio before 1.5, and of the textbook; here it counts as consecutive5xxErrors. */
  consecutiveErrors: count.optional(),
  splitExternalLocalOriginErrors: z.boolean().optional(),
  consecutiveLocalOriginFailures: count.optional(),
  consecutiveGatewayErrors: count.optional(),
  consecutive5xxErrors: count.optional(),
  interval: positiveDuration.optional(),
  baseEjectionTime: positiveDuration.optional(),
  maxEjectionPercent: z.int().min(0).max(100).optional(),
  minHealthPercent: z.int().min(0).max(100).optional(),
});

const clientTls = z.strictObject({
  mode: z.enum(["DISABLE", "SIMPLE", "MUTUAL", "ISTIO_MUTUAL"]).optional(),
  clientCertificate: text.optional(),
  privateKey: text.optional(),
  caCertificates: text.optional(),
  credentialName: text.optional(),
  subjectAltNames: texts.optional(),
  sni: text.optional(),
  insecureSkipVerify: z.boolean().optional(),
  caCrl: text.optional(),
});

const blocks = {
  loadBalancer: loadBalancer.optional(),
  connectionPool: connectionPool.optional(),
  outlierDetection: outlierDetection.optional(),
  tls: clientTls.optional(),
};

/** Istio's TrafficPolicy. */
export const trafficPolicy = z.strictObject({
  ...blocks,
  portLevelSettings: z
    .array(
      z.strictObject({ port: z.strictObject({ number: port.optional() }).optional(), ...blocks }),
    )
    .optional(),
  tunnel: z
    .strictObject({ protocol: text.optional(), targetHost: text, targetPort: port })
    .optional(),
  proxyProtocol: z.strictObject({ version: z.enum(["V1", "V2"]).optional() }).optional(),
  retryBudget: z
    .strictObject({ percent: percentNumber.optional(), minRetryConcurrency: count.optional() })
    .optional(),
});

/** Labels that select workloads. */
export const workloadSelector = z.strictObject({ matchLabels: stringMap.optional() });
