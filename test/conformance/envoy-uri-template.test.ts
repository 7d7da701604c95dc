import assert from "node:assert/strict";
import { test } from "node:test";
import { createScope } from "../../src/proxy/core/compile/scope.ts";
import { compileUriTemplate } from "../../src/proxy/core/compile/uri-template.ts";
import { startHttp } from "../support/proxy-fixture.ts";
import { skipWithout } from "../support/tools.ts";
import { exchange } from "./support/raw-http.ts";
import { address, httpBootstrap, type ProxyPlaces, sideBySide } from "./support/side-by-side.ts";

const TYPE = "type.googleapis.com/envoy.extensions.path";

/** A template, what it is rewritten to, and paths that it is asked about. */
const TEMPLATES: readonly (readonly [
  template: string,
  rewrite: string,
  paths: readonly string[],
])[] = [
  ["/t0/*", "/new", ["/t0/a", "/t0/", "/t0", "/t0/a/b", "/t0/a?x=/b", "/t0/%2F", "/t0/a=b*c"]],
  ["/t1/**", "/new", ["/t1/a", "/t1/", "/t1", "/t1/a/b.c"]],
  ["/t2/{file}", "/got/{file}/end", ["/t2/a.mp4", "/t2/a/b", "/t2/a$1?q=1"]],
  ["/t3/{name=videos/*}/x", "/{name}", ["/t3/videos/1/x", "/t3/videos/x", "/t3/audios/1/x"]],
  ["/t4/{rest=**}", "/r/{rest}", ["/t4/a/b/c", "/t4/", "/t4"]],
  ["/t5/*/{a}/{b}.m4s", "/{b}-{a}", ["/t5/hls/1/2.m4s", "/t5/hls/12.m4s", "/t5/hls/1/2xm4s"]],
  ["/t6/**.mpd", "/new", ["/t6/a/b/c.mpd", "/t6/.mpd", "/t6/a.mp4"]],
  ["/t7/{a}/{b}", "/{b}/$1/{b}", ["/t7/x/y"]],
];

test("path templates match and rewrite as Envoy's", { skip: skipWithout("envoy") }, async (t) => {
  const port = await startHttp(t, (request, response) =>
    response.end(`${request.url} ${request.headers["x-envoy-original-path"]}`),
  );
  const cluster = {
    name: "a",
    type: "STATIC",
    load_assignment: {
      cluster_name: "a",
      endpoints: [{ lb_endpoints: [{ endpoint: { address: address(port) } }] }],
    },
  };
  const routes = TEMPLATES.map(([path_template, path_template_rewrite]) => ({
    match: {
      path_match_policy: {
        name: "envoy.path.match.uri_template.uri_template_matcher",
        typed_config: {
          "@type": `${TYPE}.match.uri_template.v3.UriTemplateMatchConfig`,
          path_template,
        },
      },
    },
    route: {
      cluster: "a",
      path_rewrite_policy: {
        name: "envoy.path.rewrite.uri_template.uri_template_rewriter",
        typed_config: {
          "@type": `${TYPE}.rewrite.uri_template.v3.UriTemplateRewriteConfig`,
          path_template_rewrite,
        },
      },
    },
  }));
  const paths = TEMPLATES.flatMap(([, , list]) => list);
  const { envoy, ours } = await sideBySide(
    (places: ProxyPlaces) => httpBootstrap(places, [cluster], routes),
    async ({ listener }) => {
      const answers: string[] = [];
      for (const path of paths) {
        const { status, body } = await exchange(
          listener,
          `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`,
        );
        answers.push(`${status} ${body}`);
      }
      return answers;
    },
  );
  for (const [i, path] of paths.entries()) {
    await t.test(path, () => assert.equal(ours[i], envoy[i]));
  }
  const found = envoy.filter((answer) => answer.startsWith("200")).length;
  assert.ok(found > 10 && found < paths.length - 5, `${found} of ${paths.length} match`);
});

for (const template of [
  "a",
  "/{a}/{a}",
  "/{1}",
  "/{a",
  "/a}",
  "/{a=}",
  "/**/*",
  "/{a}-{b}",
  "/x{a}",
  "/{a=**}/{b}",
  "/{a}/{b}/{c}/{d}/{e}/{f}",
]) {
  test(`refuses the template ${template}`, () => {
    const issues: Parameters<typeof createScope>[0]["issues"] = [];
    compileUriTemplate(template, createScope({ issues, warnings: [] }));
    assert.equal(issues.length, 1);
  });
}
