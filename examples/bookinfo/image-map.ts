/** One row of the node agent's image table. */
export interface ImageMapping {
  /** Image reference; `*` stands for any text. */
  readonly image: string;
  /** argv; `node` is the Node that runs Serin, file names are relative to the package's root. */
  readonly command: readonly string[];
  /** Environment the image brings; the pod's own wins. */
  readonly env?: Readonly<Record<string, string>>;
}

const bookinfo = (
  image: string,
  program: string,
  env?: Readonly<Record<string, string>>,
): ImageMapping => ({
  image: `docker.io/istio/examples-bookinfo-${image}:*`,
  command: ["node", `examples/bookinfo/${program}.ts`],
  ...(env === undefined ? {} : { env }),
});

/** Istio's bookinfo images, as local programs: the textbook's manifests run unmodified. */
export const IMAGE_MAP: readonly ImageMapping[] = [
  bookinfo("productpage-v1", "productpage"),
  bookinfo("details-v1", "details"),
  bookinfo("ratings-v1", "ratings"),
  bookinfo("reviews-v1", "reviews", { SERVICE_VERSION: "v1" }),
  bookinfo("reviews-v2", "reviews", { SERVICE_VERSION: "v2" }),
  bookinfo("reviews-v3", "reviews", { SERVICE_VERSION: "v3" }),
];
