import type { User } from "./credentials.ts";

const READ_VERBS = ["get", "list", "watch"];
/** Questions that anybody may ask, and the review by which servers check each other's tokens. */
const OPEN_RESOURCES = ["selfsubjectreviews", "selfsubjectaccessreviews"];

/**
 * Whether a user may do something. Administrators may do everything. Service accounts may read
 * everything but Secrets: RBAC objects are stored, not yet evaluated, and this is less than what
 * any role of the embedded cluster's own parts would grant.
 */
export function mayDo(
  user: User,
  attributes: { readonly verb: string; readonly plural: string },
): boolean {
  if (user.groups.includes("system:masters")) return true;
  if (OPEN_RESOURCES.includes(attributes.plural)) return true;
  return READ_VERBS.includes(attributes.verb) && attributes.plural !== "secrets";
}
