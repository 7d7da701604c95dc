import { z } from "zod";

/** Which local command stands for an image. The first row that matches wins. */
export const imageMapSchema = z.array(
  z.strictObject({
    /** Image name; `*` stands for any text. */
    image: z.string().min(1),
    /** Program and leading arguments; `node` is the Node that runs the cluster. */
    command: z.array(z.string()).min(1),
    env: z.record(z.string(), z.string()).optional(),
  }),
);

export interface ImageMapRow {
  readonly image: string;
  readonly command: readonly string[];
  readonly env?: Readonly<Record<string, string>> | undefined;
}
export type ImageMap = readonly ImageMapRow[];

/**
 * The row for an image as a pod names it. `reviews` also matches a pattern for
 * `docker.io/library/reviews:latest`, which is what it means to every container runtime.
 */
export function findImage(map: ImageMap, image: string): ImageMapRow | undefined {
  const names = [image, fullImageName(image)];
  return map.find((row) => {
    const pattern = imagePattern(row.image);
    return names.some((name) => pattern.test(name));
  });
}

function imagePattern(image: string): RegExp {
  const literal = image.split("*").map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  return new RegExp(`^${literal.join(".*")}$`, "s");
}

/** Registry and tag filled in, as the reference implementation of image names does. */
export function fullImageName(image: string): string {
  const [first = "", ...rest] = image.split("/");
  const hasRegistry = rest.length > 0 && (/[.:]/.test(first) || first === "localhost");
  const path = hasRegistry ? image : `docker.io/${rest.length > 0 ? image : `library/${image}`}`;
  return /[:@][^/]*$/.test(path) ? path : `${path}:latest`;
}
