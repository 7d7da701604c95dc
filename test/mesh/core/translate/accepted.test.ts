import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { parseAllDocuments } from "yaml";
import type { KubeObject } from "../../../../src/api/index.ts";
import type { MeshObjects } from "../../../../src/mesh/core/mesh-objects.ts";
import { findTool, skipWithout } from "../../../support/tools.ts";
import { acceptedByEnvoy, acceptedByOurProxy } from "../support/accept.ts";
import {
  bookinfo,
  destinationRule,
  mesh,
  peerAuthentication,
  reviewsSubsets,
  service,
  virtualService,
} from "../support/objects.ts";
import { RICH_DESTINATION_RULE, RICH_VIRTUAL_SERVICE } from "../support/rich.ts";
import { nodeOf, REVIEWS_V1, translated } from "../support/translated.ts";

const TEXTBOOK = "examples/bookinfo/networking";
const to = (subset: string, weight: number) => ({
  destination: { host: "reviews", subset },
  weight,
});

/** The resources of a manifest of the textbook, sorted into what the mesh watches. */
function manifest(file: string): Partial<MeshObjects> {
  const objects = parseAllDocuments(readFileSync(join(TEXTBOOK, file), "utf8")).map((document) => {
    const object = document.toJS() as KubeObject;
    return { ...object, metadata: { namespace: "default", ...object.metadata } };
  });
  const of = (kind: string) => objects.filter((object) => object.kind === kind);
  return {
    virtualServices: of("VirtualService"),
    destinationRules: of("DestinationRule"),
    peerAuthentications: of("PeerAuthentication"),
  };
}

const rules = { destinationRules: [reviewsSubsets()] };
const MESHES: Readonly<Record<string, MeshObjects>> = {
  "bookinfo as it is": bookinfo(),
  ...Object.fromEntries(
    readdirSync(TEXTBOOK).map((file) => [
      `the textbook's ${file}`,
      mesh(bookinfo(), file.startsWith("destinationrule") ? {} : rules, manifest(file)),
    ]),
  ),
  "every traffic policy": mesh(bookinfo(), {
    destinationRules: [destinationRule({ name: "reviews" }, RICH_DESTINATION_RULE)],
  }),
  "every route our proxy takes": mesh(bookinfo(), rules, {
    virtualServices: [virtualService({ name: "reviews" }, RICH_VIRTUAL_SERVICE)],
  }),
  "every protocol, STRICT": mesh(
    bookinfo(),
    service({
      name: "many",
      ports: [
        { port: 80, name: "http" },
        { port: 81, name: "grpc" },
        { port: 82, name: "tcp" },
        { port: 83, name: "mongo" },
        { port: 84, name: "https" },
        { port: 85, name: "what" },
      ],
      pods: [{ name: "reviews-v1-5d8f7b9c-abcd3", ip: "127.16.0.3" }],
    }),
    { peerAuthentications: [peerAuthentication({ name: "p" }, { mtls: { mode: "STRICT" } })] },
  ),
  "every protocol, PERMISSIVE": mesh(
    service({
      name: "many",
      ports: [
        { port: 80, name: "http" },
        { port: 82, name: "tcp" },
        { port: 85, name: "what" },
      ],
      pods: [{ name: "reviews-v1-5d8f7b9c-abcd3", ip: "127.16.0.3" }],
    }),
  ),
};

/** What Envoy takes and our proxy still refuses. */
const ONLY_ENVOY: Readonly<Record<string, MeshObjects>> = {
  "rewrites by expression, of the host per destination, and gRPC faults": mesh(bookinfo(), rules, {
    virtualServices: [
      virtualService(
        { name: "reviews" },
        {
          hosts: ["reviews"],
          http: [
            {
              match: [{ uri: { prefix: "/a/" } }],
              rewrite: { uriRegexRewrite: { match: "^/a/(.*)$", rewrite: "/\\1" } },
              fault: {
                delay: { fixedDelay: "1s", percentage: { value: 10 } },
                abort: { grpcStatus: "UNAVAILABLE", percentage: { value: 1 } },
              },
              route: [
                { ...to("v1", 50), headers: { request: { set: { host: "x.example" } } } },
                to("v2", 50),
              ],
            },
            { match: [{ uri: { regex: "/x/.*" } }], rewrite: { uri: "/y" }, route: [to("v1", 1)] },
            { route: [to("v1", 1)] },
          ],
        },
      ),
    ],
  }),
};

for (const [what, objects] of Object.entries(MESHES)) {
  test(`our proxy accepts ${what}`, () => {
    acceptedByOurProxy(translated(objects, REVIEWS_V1, true));
  });
}

for (const [what, objects] of Object.entries({ ...MESHES, ...ONLY_ENVOY })) {
  test(`Envoy accepts ${what}`, { skip: skipWithout("envoy") }, async () => {
    const set = translated(objects, REVIEWS_V1, true);
    await acceptedByEnvoy(findTool("envoy") ?? "", set);
  });
}

test("both accept an IPv6 pod", { skip: skipWithout("envoy") }, async () => {
  const pod = { name: "a-1-x", ip: "fd00::1" };
  const objects = mesh(
    service({ name: "a", clusterIp: "fd00::9", ports: [{ port: 80, name: "http" }], pods: [pod] }),
  );
  const set = translated(objects, nodeOf("a-1-x", "fd00::1"));
  acceptedByOurProxy(set);
  await acceptedByEnvoy(findTool("envoy") ?? "", set);
});
