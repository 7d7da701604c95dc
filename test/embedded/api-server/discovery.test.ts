import assert from "node:assert/strict";
import { test } from "node:test";
import { compareVersions } from "../../../src/embedded/core/api/discovery.ts";
import { at, startTestServer } from "./test-server.ts";

const AGGREGATED = (version: string): string =>
  `application/json;g=apidiscovery.k8s.io;v=${version};as=APIGroupDiscoveryList,application/json`;

test("discovery is aggregated for who asks for it, and plain for the others", async (t) => {
  const server = await startTestServer(t);
  for (const version of ["v2", "v2beta1"]) {
    const answer = await server.call("GET", "/apis", { accept: AGGREGATED(version) });
    assert.equal(answer.json["kind"], "APIGroupDiscoveryList");
    assert.equal(answer.json["apiVersion"], `apidiscovery.k8s.io/${version}`);
    assert.match(
      String(answer.headers["content-type"]),
      new RegExp(`;v=${version};as=APIGroupDiscoveryList`),
    );
    const apps = (at(answer.json, "items") as unknown[]).find(
      (g) => at(g, "metadata", "name") === "apps",
    );
    const resources = at(apps, "versions", 0, "resources") as unknown[];
    const deployments = resources.find((r) => at(r, "resource") === "deployments");
    assert.deepEqual(at(deployments, "shortNames"), ["deploy"]);
    assert.deepEqual(
      (at(deployments, "subresources") as unknown[]).map((s) => at(s, "subresource")),
      ["status", "scale"],
    );
  }
  assert.equal((await server.ok("GET", "/apis"))["kind"], "APIGroupList");
  assert.equal((await server.ok("GET", "/api"))["kind"], "APIVersions");
  const core = await server.ok("GET", "/api/v1");
  const names = (at(core, "resources") as unknown[]).map((r) => at(r, "name"));
  for (const name of [
    "pods",
    "pods/log",
    "pods/status",
    "namespaces/finalize",
    "serviceaccounts/token",
  ]) {
    assert.ok(names.includes(name), name);
  }
});

test("a client that knows the document gets 304", async (t) => {
  const server = await startTestServer(t);
  for (const path of ["/apis", "/openapi/v3", "/openapi/v3/apis/apps/v1"]) {
    const first = await server.call("GET", path);
    const headers = { "if-none-match": String(first.headers.etag) };
    const second = await server.call("GET", path, { headers });
    assert.equal(second.code, 304, path);
    assert.equal(second.text, "");
    assert.equal(second.headers["vary"], "Accept");
  }
});

test("OpenAPI v3 documents are whole: every reference leads somewhere", async (t) => {
  const server = await startTestServer(t);
  const index = await server.ok("GET", "/openapi/v3");
  const paths = Object.values(index["paths"] as Record<string, { serverRelativeURL: string }>);
  assert.ok(paths.length >= 8);
  for (const { serverRelativeURL } of paths) {
    const document = await server.ok("GET", serverRelativeURL);
    const schemas = at(document, "components", "schemas") as Record<string, unknown>;
    const text = JSON.stringify(document);
    for (const [, name = ""] of text.matchAll(/"\$ref":"#\/components\/schemas\/([^"]+)"/g)) {
      assert.ok(Object.hasOwn(schemas, name), `${serverRelativeURL}: ${name}`);
    }
    assert.match(text, /"name":"fieldValidation"/);
  }
  const apps = await server.ok("GET", "/openapi/v3/apis/apps/v1");
  const schemas = at(apps, "components", "schemas") as Record<string, unknown>;
  assert.equal(
    at(schemas["io.k8s.api.PodSpec"], "properties", "containers", "x-kubernetes-patch-merge-key"),
    "name",
  );
  assert.deepEqual(
    at(schemas["io.k8s.api.apps.v1.Deployment"], "x-kubernetes-group-version-kind"),
    [{ group: "apps", version: "v1", kind: "Deployment" }],
  );
});

test("versions are ordered as Kubernetes orders them", () => {
  const ordered = [
    "v10",
    "v2",
    "v1",
    "v11beta2",
    "v10beta3",
    "v3beta1",
    "v12alpha1",
    "v11alpha2",
    "foo1",
    "foo10",
  ];
  assert.deepEqual([...ordered].reverse().sort(compareVersions), ordered);
});
