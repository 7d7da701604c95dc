import { createHash } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import {
  aggregatedDiscovery,
  groupDocument,
  groupList,
  groupsOf,
  resourceList,
} from "../core/api/discovery.ts";
import type { JsonObject } from "../core/api/json.ts";
import { parseAccept } from "../core/api/negotiate.ts";
import { openApiDocument } from "../core/api/openapi.ts";
import { groupVersion } from "../core/api/resource-info.ts";
import type { Registry } from "./registry.ts";
import { VIRTUAL_RESOURCES } from "./virtual-resources.ts";

/** The Kubernetes version this server behaves as; kubectl picks itself by it. */
export const VERSION = {
  major: "1",
  minor: "32",
  gitVersion: "v1.32.0+serin",
  gitCommit: "serin",
  gitTreeState: "clean",
  buildDate: "2024-12-11T00:00:00Z",
  goVersion: "go1.23.3",
  compiler: "gc",
  platform: "linux/amd64",
};

interface Rendered {
  readonly text: string;
  readonly etag: string;
}

/** Answers what clients ask to find out what there is: versions, groups, resources, schemas. */
export class DiscoveryHandler {
  readonly #registry: Registry;
  readonly #rendered = new Map<string, Rendered>();
  #revision = -1;

  constructor(registry: Registry) {
    this.#registry = registry;
  }

  /** Whether the path was one of discovery's, and has been answered. */
  handle(path: string, request: IncomingMessage, response: ServerResponse): boolean {
    if (this.#revision !== this.#registry.revision) {
      this.#rendered.clear();
      this.#revision = this.#registry.revision;
    }
    const aggregated = path === "/api" || path === "/apis" ? aggregatedVersion(request) : undefined;
    const key = aggregated === undefined ? path : `${path} ${aggregated}`;
    let rendered = this.#rendered.get(key);
    if (rendered === undefined) {
      const document = this.#render(path, aggregated);
      if (document === undefined) return false;
      const text = `${JSON.stringify(document)}\n`;
      rendered = { text, etag: `"${hashOf(text)}"` };
      this.#rendered.set(key, rendered);
    }
    const mediaType =
      aggregated === undefined
        ? "application/json"
        : `application/json;g=apidiscovery.k8s.io;v=${aggregated};as=APIGroupDiscoveryList`;
    send(request, response, rendered, mediaType);
    return true;
  }

  #render(path: string, aggregated: "v2" | "v2beta1" | undefined): JsonObject | undefined {
    const { resources } = this.#registry;
    if (path === "/version") return VERSION;
    if (aggregated !== undefined) {
      return aggregatedDiscovery(resources, VIRTUAL_RESOURCES, path === "/api", aggregated);
    }
    if (path === "/api")
      return { kind: "APIVersions", versions: ["v1"], serverAddressByClientCIDRs: [] };
    if (path === "/apis") return groupList(resources, VIRTUAL_RESOURCES);
    if (path === "/openapi/v3") return this.#openApiIndex();
    const [, root, group, version, ...rest] = path.split("/");
    if (root === "openapi") return this.#openApi(path);
    if (rest.length > 0) return undefined;
    if (root === "api" && group !== undefined && version === undefined) {
      return resourceList(resources, VIRTUAL_RESOURCES, "", group);
    }
    if (root !== "apis" || group === undefined) return undefined;
    if (version === undefined) return groupDocument(resources, VIRTUAL_RESOURCES, group);
    return resourceList(resources, VIRTUAL_RESOURCES, group, version);
  }

  #openApiIndex(): JsonObject {
    const paths: JsonObject = {};
    for (const group of groupsOf(this.#registry.resources, [])) {
      for (const version of group.versions) {
        const path =
          group.name === "" ? `api/${version}` : `apis/${groupVersion(group.name, version)}`;
        const document = openApiDocument(this.#registry.resources, group.name, version);
        const hash = hashOf(JSON.stringify(document));
        paths[path] = { serverRelativeURL: `/openapi/v3/${path}?hash=${hash}` };
      }
    }
    return { paths };
  }

  #openApi(path: string): JsonObject | undefined {
    const match = /^\/openapi\/v3\/(?:api\/(v1)|apis\/([^/]+)\/([^/]+))$/.exec(path);
    if (match === null) return undefined;
    const [group, version] =
      match[1] === undefined ? [match[2] ?? "", match[3] ?? ""] : ["", match[1]];
    const known = groupsOf(this.#registry.resources, []).find((g) => g.name === group);
    if (known?.versions.includes(version) !== true) return undefined;
    return openApiDocument(this.#registry.resources, group, version);
  }
}

function aggregatedVersion(request: IncomingMessage): "v2" | "v2beta1" | undefined {
  for (const { type, parameters } of parseAccept(request.headers.accept)) {
    if (type !== "application/json") continue;
    if (parameters["as"] === undefined) return undefined;
    if (parameters["g"] !== "apidiscovery.k8s.io" || parameters["as"] !== "APIGroupDiscoveryList")
      continue;
    const version = parameters["v"];
    if (version === "v2" || version === "v2beta1") return version;
  }
  return undefined;
}

function hashOf(text: string): string {
  return createHash("sha512").update(text).digest("hex").toUpperCase();
}

function send(
  request: IncomingMessage,
  response: ServerResponse,
  rendered: Rendered,
  mediaType: string,
): void {
  response.setHeader("ETag", rendered.etag);
  response.setHeader("Vary", "Accept");
  response.setHeader("Cache-Control", "public");
  if (request.headers["if-none-match"]?.includes(rendered.etag) === true) {
    response.writeHead(304);
    response.end();
    return;
  }
  const body = Buffer.from(rendered.text);
  response.writeHead(200, { "content-type": mediaType, "content-length": body.length });
  response.end(body);
}
