/** Resource contracts: zod schemas, types, defaults, CRDs; pure. */
export {
  apiVersionOf,
  type KubeObject,
  type LabelSelector,
  matchesSelector,
  type ObjectMeta,
  type OwnerReference,
  type ResourceType,
  type StringMap,
} from "./meta.ts";
export { RESOURCES } from "./resources.ts";
