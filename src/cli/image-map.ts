import { existsSync, readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { messageOf, SerinError } from "../base/index.ts";
import { type ImageMap, parseImageMap } from "../embedded/index.ts";

/** This folder's parent: `src/` in a checkout, `dist/` in a published package. */
const CODE = fileURLToPath(new URL("..", import.meta.url));
const PACKAGE = resolve(CODE, "..");
/** Which image the control plane's injection names; here it runs as this very program. */
export const PROXY_IMAGE = "docker.io/serin/proxy";

/**
 * The images that run as local programs: the user's own table first, then the bundled examples and
 * the proxy. Throws SERIN_UNREADABLE_INPUT naming the file, and every wrong field of it.
 */
export function bundledImageMap(file: string | undefined): ImageMap {
  const own = file === undefined ? [] : readImageMap(resolve(file));
  return [...own, ...readImageMap(exampleImages()), ...proxyImages()];
}

/** A published package carries the examples compiled: Node runs no types below node_modules. */
function exampleImages(): string {
  const compiled = resolve(CODE, "examples/images.yaml");
  return existsSync(compiled) ? compiled : resolve(PACKAGE, "examples/images.yaml");
}

function proxyImages(): ImageMap {
  const command = ["node", resolve(PACKAGE, "bin/serin.mjs")];
  // Which Envoy runs where a pod asks for it.
  const envoy = process.env["ENVOY_BIN"];
  const env = envoy === undefined ? {} : { env: { ENVOY_BIN: envoy } };
  return [{ image: `${PROXY_IMAGE}:*`, command, ...env }];
}

function readImageMap(path: string): ImageMap {
  const folder = dirname(path);
  const map = parseImageMap(readText(path), path);
  return map.map((row) => ({
    ...row,
    command: row.command.map((word) => (/^\.\.?\//.test(word) ? resolve(folder, word) : word)),
  }));
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw new SerinError(
      "SERIN_UNREADABLE_INPUT",
      `cannot read the image map: ${messageOf(error)}`,
      {
        source: "caller",
        cause: error,
      },
    );
  }
}
