import { type JsonObject, objectAt } from "./json.ts";
import { groupVersion, type ResourceInfo, type VersionInfo } from "./resource-info.ts";
import type { Schema } from "./schema.ts";

const PREFIX = "#/components/schemas/";

/**
 * The OpenAPI v3 document of one group and version: the schema of each kind, and the paths with
 * the PATCH parameters (`fieldValidation`) by which kubectl finds out what the server can do.
 */
export function openApiDocument(
  resources: readonly ResourceInfo[],
  group: string,
  version: string,
): JsonObject {
  const schemas: JsonObject = {};
  const paths: JsonObject = {};
  for (const resource of resources) {
    const served = resource.versions.find((v) => v.name === version && v.served);
    if (resource.group !== group || served === undefined) continue;
    const name = componentName(group, version, resource.kind);
    schemas[name] = kindSchema(resource, served, schemas);
    for (const [path, operations] of pathsOf(resource, version, name)) paths[path] = operations;
  }
  return {
    openapi: "3.0.0",
    info: { title: "Kubernetes", version: "v1.32.0" },
    paths,
    components: {
      schemas,
      securitySchemes: {
        BearerToken: {
          type: "apiKey",
          description: "Bearer Token authentication",
          name: "authorization",
          in: "header",
        },
      },
    },
  };
}

/** `io.k8s.api.apps.v1.Deployment`, `dev.serin.v1.Canary`. */
function componentName(group: string, version: string, kind: string): string {
  if (group !== "" && group.includes(".") && !group.endsWith(".k8s.io")) {
    return `${group.split(".").reverse().join(".")}.${version}.${kind}`;
  }
  const part = group === "" ? "core" : (group.split(".")[0] ?? "");
  return `io.k8s.api.${part}.${version}.${kind}`;
}

function kindSchema(resource: ResourceInfo, version: VersionInfo, schemas: JsonObject): JsonObject {
  const gvk = { group: resource.group, version: version.name, kind: resource.kind };
  const render = (schema: Schema): unknown => renderSchema(schema, schemas);
  const schema = version.schema ?? {};
  const rendered = resource.isCustom ? structuredClone(schema) : renderObject(schema, render);
  const properties = objectAt(rendered, "properties") ?? {};
  return {
    ...rendered,
    type: "object",
    properties: {
      ...properties,
      apiVersion: { type: "string" },
      kind: { type: "string" },
      metadata: resource.isCustom ? { type: "object" } : properties["metadata"],
    },
    "x-kubernetes-group-version-kind": [gvk],
  };
}

function renderSchema(schema: Schema, schemas: JsonObject): unknown {
  const { goType } = schema;
  const render = (inner: Schema): unknown => renderSchema(inner, schemas);
  if (goType === undefined || schema.properties === undefined) return renderObject(schema, render);
  const name = `io.k8s.api.${goType}`;
  if (schemas[name] === undefined) {
    // Marked before its fields are rendered: a type may hold itself.
    schemas[name] = {};
    const {
      "x-kubernetes-patch-strategy": _s,
      "x-kubernetes-patch-merge-key": _k,
      ...plain
    } = schema;
    schemas[name] = renderObject(plain, render);
  }
  const strategy = schema["x-kubernetes-patch-strategy"];
  const reference = { $ref: `${PREFIX}${name}` };
  if (strategy === undefined) return reference;
  return { allOf: [reference], "x-kubernetes-patch-strategy": strategy };
}

function renderObject(schema: Schema, render: (schema: Schema) => unknown): JsonObject {
  const { goType: _goType, quantity, properties, items, additionalProperties, ...rest } = schema;
  if (quantity === true) return { oneOf: [{ type: "string" }, { type: "number" }] };
  if (schema["x-kubernetes-int-or-string"] === true) {
    return { format: "int-or-string", oneOf: [{ type: "integer" }, { type: "string" }] };
  }
  return {
    ...rest,
    ...(items === undefined ? {} : { items: render(items) }),
    ...(typeof additionalProperties === "object"
      ? { additionalProperties: render(additionalProperties) }
      : {}),
    ...(properties === undefined
      ? {}
      : {
          properties: Object.fromEntries(
            Object.entries(properties).map(([field, inner]) => [field, render(inner)]),
          ),
        }),
  };
}

function pathsOf(
  resource: ResourceInfo,
  version: string,
  component: string,
): readonly (readonly [string, JsonObject])[] {
  const root = resource.group === "" ? "/api/v1" : `/apis/${groupVersion(resource.group, version)}`;
  const scope = resource.namespaced ? "/namespaces/{namespace}" : "";
  const gvk = { group: resource.group, version, kind: resource.kind };
  const reference = { schema: { $ref: `${PREFIX}${component}` } };
  const body = { content: { "*/*": reference } };
  const responses = { "200": { description: "OK", content: { "application/json": reference } } };
  const parameters = ["dryRun", "fieldManager", "fieldValidation"].map((name) => ({
    name,
    in: "query",
    schema: { type: "string", uniqueItems: true },
  }));
  const operation = (action: string, extra: JsonObject = {}): JsonObject => ({
    "x-kubernetes-action": action,
    "x-kubernetes-group-version-kind": gvk,
    responses,
    ...extra,
  });
  const patchTypes = [
    "application/json-patch+json",
    "application/merge-patch+json",
    ...(resource.isCustom ? [] : ["application/strategic-merge-patch+json"]),
  ];
  const patchBody = {
    content: Object.fromEntries(patchTypes.map((type) => [type, { schema: { type: "object" } }])),
  };
  return [
    [
      `${root}${scope}/${resource.plural}`,
      {
        get: operation("list"),
        post: operation("post", { parameters, requestBody: body }),
        delete: operation("deletecollection"),
      },
    ],
    [
      `${root}${scope}/${resource.plural}/{name}`,
      {
        get: operation("get"),
        put: operation("put", { parameters, requestBody: body }),
        patch: operation("patch", {
          parameters: [
            ...parameters,
            { name: "force", in: "query", schema: { type: "boolean", uniqueItems: true } },
          ],
          requestBody: patchBody,
        }),
        delete: operation("delete"),
      },
    ],
  ];
}
