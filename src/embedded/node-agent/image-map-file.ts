import { parse } from "yaml";
import { issuesOf, messageOf, SerinError } from "../../base/index.ts";
import { type ImageMap, imageMapSchema } from "../core/node-agent/image-map.ts";

/**
 * Reads an image map, as `--image-map FILE` holds it: a JSON or YAML list of
 * `{image, command, env?}`. Throws SERIN_UNREADABLE_INPUT naming `source` and every wrong field.
 */
export function parseImageMap(text: string, source: string): ImageMap {
  const document = parseDocument(text, source);
  const map = imageMapSchema.safeParse(document);
  if (map.success) return map.data;
  const list = issuesOf(map.error).map(({ path, message }) =>
    path === "" ? message : `${path}: ${message}`,
  );
  throw unreadable(source, list.join("; "));
}

function parseDocument(text: string, source: string): unknown {
  try {
    return parse(text);
  } catch (error) {
    throw unreadable(source, messageOf(error), error);
  }
}

function unreadable(source: string, problem: string, cause?: unknown): SerinError {
  return new SerinError("SERIN_UNREADABLE_INPUT", `image map ${source}: ${problem}`, {
    source: "caller",
    cause,
  });
}
