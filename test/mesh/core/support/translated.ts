import type { KubeObject } from "../../../../src/api/index.ts";
import type { MeshObjects } from "../../../../src/mesh/core/mesh-objects.ts";
import { buildModel, type MeshModel } from "../../../../src/mesh/core/model.ts";
import { type ProxyNode, parseProxyNode } from "../../../../src/mesh/core/proxy-node.ts";
import { translate } from "../../../../src/mesh/core/translate.ts";
import type { ResourceSet } from "../../../../src/mesh/core/xds-resource.ts";
import type { MessageTypes } from "../../../../src/xds/index.ts";
import { resourceJson } from "./accept.ts";
import { bookinfo, mesh, virtualService } from "./objects.ts";

export type Json = { readonly [key: string]: unknown };

/** The proxy of a pod of the loopback network, as its bootstrap presents it. */
export function nodeOf(
  pod: string,
  ip: string,
  metadata: Json = {},
  role: ProxyNode["role"] = "sidecar",
): ProxyNode {
  const namespace = typeof metadata["NAMESPACE"] === "string" ? metadata["NAMESPACE"] : "default";
  return parseProxyNode({
    id: `${role}~${ip}~${pod}.${namespace}~${namespace}.svc.cluster.local`,
    metadata: {
      NAME: pod,
      NAMESPACE: namespace,
      INTERCEPTION_MODE: "NONE",
      HTTP_PROXY_PORT: "15001",
      ...metadata,
    },
  });
}

/** The productpage of bookinfo: the client of the textbook. */
export const PRODUCTPAGE = nodeOf("productpage-v1-6b4c8d7f9-qwert", "127.16.0.2", {
  LABELS: { app: "productpage", version: "v1" },
  APPLICATION_ADDRESS: "127.48.0.2",
});

/** One of the three reviews. */
export const REVIEWS_V1 = nodeOf("reviews-v1-5d8f7b9c-abcd3", "127.16.0.3", {
  LABELS: { app: "reviews", version: "v1" },
  APPLICATION_ADDRESS: "127.48.0.3",
});

export function modelOf(objects: MeshObjects): MeshModel {
  return buildModel(objects, { trustDomain: "cluster.local", rootNamespace: "istio-system" });
}

export function translated(
  objects: MeshObjects,
  node: ProxyNode = PRODUCTPAGE,
  accessLog = false,
): ResourceSet {
  return translate(modelOf(objects), node, { accessLog });
}

/** The virtual host of the outbound HTTP proxy that has the domain. */
export function virtualHostJson(set: ResourceSet, domain: string): Json {
  const routes = resourceJson(set, "envoy.config.route.v3.RouteConfiguration", "http_proxy") as {
    readonly virtual_hosts: readonly Json[];
  };
  const host = routes.virtual_hosts.find((each) =>
    (each["domains"] as readonly string[]).includes(domain),
  );
  if (host === undefined) throw new Error(`no virtual host has the domain ${domain}`);
  return host;
}

/** The Envoy routes that bookinfo's reviews get from HTTP rules of a VirtualService. */
export function reviewsRoutes(
  http: readonly object[],
  options: { readonly node?: ProxyNode; readonly rules?: readonly KubeObject[] } = {},
): readonly Json[] {
  const objects = mesh(bookinfo(), {
    destinationRules: options.rules ?? [],
    virtualServices: [virtualService({ name: "reviews" }, { hosts: ["reviews"], http })],
  });
  const model = modelOf(objects);
  const invalid = model.problems.filter((problem) => !problem.message.includes("get 503"));
  if (invalid.length > 0) throw new Error(invalid.map((each) => each.message).join("\n"));
  const set = translate(model, options.node ?? PRODUCTPAGE, { accessLog: false });
  return virtualHostJson(set, "reviews:9080")["routes"] as readonly Json[];
}

export type Listener = MessageTypes["envoy.config.listener.v3.Listener"];
