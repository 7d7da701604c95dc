import { z } from "zod";
import { freeForm, name, port, stringMap, text } from "../fields.ts";
import type { KubeObject } from "../meta.ts";
import { parseSpec } from "../parse-resource.ts";
import { type Problem, rules } from "../rules.ts";
import { hostname, secretReference, sectionName } from "./references.ts";

const labelSelector = z.strictObject({
  matchLabels: stringMap.optional(),
  matchExpressions: z
    .array(
      z.strictObject({
        key: name,
        operator: z.enum(["In", "NotIn", "Exists", "DoesNotExist"]),
        values: z.array(text).optional(),
      }),
    )
    .optional(),
});

const listenerTls = z.strictObject({
  mode: z.enum(["Terminate", "Passthrough"]).optional(),
  certificateRefs: z.array(secretReference).max(64).optional(),
  frontendValidation: freeForm.optional(),
  options: stringMap.optional(),
});

const allowedRoutes = z.strictObject({
  namespaces: z
    .strictObject({
      from: z.enum(["All", "Selector", "Same", "None"]).optional(),
      selector: labelSelector.optional(),
    })
    .optional(),
  kinds: z
    .array(z.strictObject({ group: text.optional(), kind: name }))
    .max(8)
    .optional(),
});

const listener = z
  .strictObject({
    name: sectionName,
    hostname: hostname.optional(),
    port,
    /** HTTP, HTTPS, TLS, TCP; others are legal and said to be unsupported. */
    protocol: name.max(255),
    tls: listenerTls.optional(),
    allowedRoutes: allowedRoutes.optional(),
  })
  .superRefine(rules(listenerProblems));
export type GatewayListener = z.infer<typeof listener>;

/** Source: Gateway's CEL rules. */
function* listenerProblems(found: {
  readonly protocol: string;
  readonly hostname?: string | undefined;
  readonly tls?: z.infer<typeof listenerTls> | undefined;
}): Generator<Problem> {
  const { protocol, tls } = found;
  if (["HTTP", "TCP", "UDP"].includes(protocol) && tls !== undefined) {
    yield [["tls"], `cannot be set with protocol ${protocol}`];
  }
  if (["TCP", "UDP"].includes(protocol) && found.hostname !== undefined) {
    yield [["hostname"], `cannot be set with protocol ${protocol}`];
  }
  if (protocol !== "HTTPS" && protocol !== "TLS") return;
  if (tls === undefined) yield [["tls"], `is required for protocol ${protocol}`];
  if (protocol === "HTTPS" && tls?.mode === "Passthrough") {
    yield [["tls", "mode"], "must be Terminate with protocol HTTPS"];
  }
  const isTerminated = (tls?.mode ?? "Terminate") === "Terminate";
  const hasOptions = Object.keys(tls?.options ?? {}).length > 0;
  if (tls !== undefined && isTerminated && !hasOptions && !tls.certificateRefs?.length) {
    yield [["tls", "certificateRefs"], "is required with mode Terminate"];
  }
}

/** Names, and port, protocol and hostname together, are what listeners are told apart by. */
function* listenersProblems(all: readonly GatewayListener[]): Generator<Problem> {
  const names = new Map<string, number>();
  const places = new Map<string, number>();
  for (const [index, { name: own, port: number, protocol, hostname: host }] of all.entries()) {
    const place = JSON.stringify([number, protocol, host ?? ""]);
    const sameName = names.get(own);
    if (sameName !== undefined)
      yield [[index, "name"], `is the name of listeners[${sameName}] too`];
    const samePlace = places.get(place);
    if (samePlace !== undefined) {
      yield [[index], `has the port, protocol and hostname of listeners[${samePlace}]`];
    }
    names.set(own, index);
    places.set(place, index);
  }
}

/** Schema of a Gateway's spec (gateway.networking.k8s.io). */
export const kubernetesGatewaySpec = z.strictObject({
  gatewayClassName: name.max(253),
  listeners: z.array(listener).min(1).max(64).superRefine(rules(listenersProblems)),
  addresses: z
    .array(z.strictObject({ type: text.optional(), value: text.optional() }))
    .max(16)
    .optional(),
  infrastructure: z
    .strictObject({
      labels: stringMap.optional(),
      annotations: stringMap.optional(),
      parametersRef: z.strictObject({ group: text, kind: name, name }).optional(),
    })
    .optional(),
  backendTLS: freeForm.optional(),
  tls: freeForm.optional(),
  allowedListeners: freeForm.optional(),
  defaultScope: text.optional(),
});
export type KubernetesGatewaySpec = z.infer<typeof kubernetesGatewaySpec>;

/** Reads a Gateway of Gateway API. Throws SERIN_INVALID_RESOURCE that lists every bad path. */
export function parseKubernetesGateway(object: KubeObject): KubernetesGatewaySpec {
  return parseSpec(object, kubernetesGatewaySpec);
}
