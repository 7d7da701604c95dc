import { z } from "zod";
import {
  count,
  duration,
  durationOrZero,
  name,
  percentNumber,
  port,
  stringMap,
  text,
  texts,
} from "../fields.ts";
import { type Problem, rules } from "../rules.ts";
import { localityLbSetting } from "./locality.ts";

/** What a consistent hash may be computed from. */
const HASH_KEYS = [
  "httpHeaderName",
  "httpCookie",
  "useSourceIp",
  "httpQueryParameterName",
] as const;

const consistentHash = z
  .strictObject({
    httpHeaderName: text.optional(),
    httpCookie: z
      .strictObject({
        name,
        path: text.optional(),
        ttl: durationOrZero.optional(),
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
  })
  .superRefine(
    rules(function* (hash) {
      const keys = HASH_KEYS.filter((key) => hash[key] !== undefined);
      if (keys.length !== 1) yield [[], `must set exactly one of ${HASH_KEYS.join(", ")}`];
      if (hash.ringHash !== undefined && hash.maglev !== undefined) {
        yield [["maglev"], "cannot be set together with ringHash"];
      }
      if (hash.minimumRingSize && (hash.ringHash ?? hash.maglev) !== undefined) {
        yield [["minimumRingSize"], "cannot be set together with ringHash or maglev"];
      }
      const tableSize = hash.maglev?.tableSize;
      if (hash.maglev !== undefined && !(isPrime(tableSize ?? 0) && (tableSize ?? 0) < 5_000_011)) {
        yield [["maglev", "tableSize"], "must be a prime number below 5000011"];
      }
    }),
  );

function isPrime(number: number): boolean {
  if (number < 2) return false;
  for (let factor = 2; factor * factor <= number; factor += 1) {
    if (number % factor === 0) return false;
  }
  return true;
}

const loadBalancer = z
  .strictObject({
    simple: z
      .enum(["UNSPECIFIED", "LEAST_CONN", "RANDOM", "PASSTHROUGH", "ROUND_ROBIN", "LEAST_REQUEST"])
      .optional(),
    consistentHash: consistentHash.optional(),
    localityLbSetting: localityLbSetting.optional(),
    warmupDurationSecs: durationOrZero.optional(),
    warmup: z
      .strictObject({
        duration: duration,
        minimumPercent: percentNumber.optional(),
        aggression: z.number().min(1).optional(),
      })
      .optional(),
  })
  .superRefine(
    rules(function* ({ simple, consistentHash: hash }) {
      if (simple !== undefined && hash !== undefined) {
        yield [["consistentHash"], "cannot be set together with simple"];
      }
    }),
  );

/** Istio's ConnectionPoolSettings. */
export const connectionPool = z
  .strictObject({
    tcp: z
      .strictObject({
        maxConnections: count.optional(),
        connectTimeout: duration.optional(),
        tcpKeepalive: z
          .strictObject({
            probes: count.optional(),
            time: durationOrZero.optional(),
            interval: durationOrZero.optional(),
          })
          .optional(),
        maxConnectionDuration: duration.optional(),
        idleTimeout: durationOrZero.optional(),
      })
      .optional(),
    http: z
      .strictObject({
        http1MaxPendingRequests: count.optional(),
        http2MaxRequests: count.optional(),
        maxRequestsPerConnection: count.optional(),
        maxRetries: count.optional(),
        idleTimeout: durationOrZero.optional(),
        h2UpgradePolicy: z.enum(["DEFAULT", "DO_NOT_UPGRADE", "UPGRADE"]).optional(),
        useClientProtocol: z.boolean().optional(),
        maxConcurrentStreams: count.optional(),
        http2KeepAlive: z
          .strictObject({ interval: duration.optional(), timeout: duration.optional() })
          .optional(),
      })
      .superRefine(
        rules(function* ({ h2UpgradePolicy, useClientProtocol }) {
          if (h2UpgradePolicy === "UPGRADE" && useClientProtocol === true) {
            yield [["useClientProtocol"], "cannot be true with h2UpgradePolicy UPGRADE"];
          }
        }),
      )
      .optional(),
  })
  .refine(({ tcp, http }) => (tcp ?? http) !== undefined, "must have tcp or http");

const outlierDetection = z
  .strictObject({
    /** Of Istio before 1.5, and of the textbook; here it counts as consecutive5xxErrors. */
    consecutiveErrors: count.optional(),
    splitExternalLocalOriginErrors: z.boolean().optional(),
    consecutiveLocalOriginFailures: count.optional(),
    consecutiveGatewayErrors: count.optional(),
    consecutive5xxErrors: count.optional(),
    interval: duration.optional(),
    baseEjectionTime: duration.optional(),
    maxEjectionPercent: z.int().min(0).max(100).optional(),
    minHealthPercent: z.int().min(0).max(100).optional(),
  })
  .superRefine(
    rules(function* (outlier) {
      const { consecutiveLocalOriginFailures = 0, splitExternalLocalOriginErrors } = outlier;
      if (consecutiveLocalOriginFailures > 0 && splitExternalLocalOriginErrors !== true) {
        yield [["consecutiveLocalOriginFailures"], "needs splitExternalLocalOriginErrors: true"];
      }
    }),
  );

const clientTls = z
  .strictObject({
    mode: z.enum(["DISABLE", "SIMPLE", "MUTUAL", "ISTIO_MUTUAL"]).optional(),
    clientCertificate: text.optional(),
    privateKey: text.optional(),
    caCertificates: text.optional(),
    credentialName: text.optional(),
    subjectAltNames: texts.optional(),
    sni: text.optional(),
    insecureSkipVerify: z.boolean().optional(),
    caCrl: text.optional(),
  })
  .superRefine(rules(clientTlsProblems));

interface ClientTls {
  readonly mode?: string | undefined;
  readonly clientCertificate?: string | undefined;
  readonly privateKey?: string | undefined;
  readonly caCertificates?: string | undefined;
  readonly caCrl?: string | undefined;
  readonly credentialName?: string | undefined;
  readonly subjectAltNames?: readonly string[] | undefined;
  readonly insecureSkipVerify?: boolean | undefined;
}

/** What the mode of a client needs, and does not take. */
function* clientTlsProblems(tls: ClientTls): Generator<Problem> {
  if (tls.mode !== "SIMPLE" && tls.mode !== "MUTUAL") return;
  if (tls.insecureSkipVerify === true && (tls.caCertificates || tls.subjectAltNames)) {
    yield [["insecureSkipVerify"], "cannot be true with caCertificates or subjectAltNames"];
  }
  if (tls.credentialName) {
    for (const field of ["clientCertificate", "privateKey", "caCertificates", "caCrl"] as const) {
      if (tls[field]) yield [[field], "cannot be set together with credentialName"];
    }
    return;
  }
  for (const field of ["clientCertificate", "privateKey"] as const) {
    if (tls.mode === "MUTUAL" && !tls[field]) {
      yield [[field], "mode MUTUAL needs it, or credentialName"];
    }
  }
}

const blocks = {
  loadBalancer: loadBalancer.optional(),
  connectionPool: connectionPool.optional(),
  outlierDetection: outlierDetection.optional(),
  tls: clientTls.optional(),
};

const isEmpty = (policy: object): boolean =>
  Object.entries(policy).every(([field, value]) => field === "port" || value === undefined);

/** Istio's TrafficPolicy. */
export const trafficPolicy = z
  .strictObject({
    ...blocks,
    portLevelSettings: z
      .array(
        z
          .strictObject({ port: z.strictObject({ number: port }), ...blocks })
          .refine((policy) => !isEmpty(policy), "must have at least one field besides port"),
      )
      .optional(),
    tunnel: z
      .strictObject({ protocol: text.optional(), targetHost: text, targetPort: port })
      .optional(),
    retryBudget: z
      .strictObject({ percent: percentNumber.optional(), minRetryConcurrency: count.optional() })
      .optional(),
    proxyProtocol: z.strictObject({ version: z.enum(["V1", "V2"]).optional() }).optional(),
  })
  .superRefine(
    rules(function* (policy) {
      if (isEmpty(policy)) yield [[], "must have at least one field"];
      if (policy.tunnel !== undefined && policy.proxyProtocol !== undefined) {
        yield [["proxyProtocol"], "cannot be set together with tunnel"];
      }
    }),
  );

/** Labels that select workloads. */
export const workloadSelector = z.strictObject({ matchLabels: stringMap.optional() });
