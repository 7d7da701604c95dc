import type { ReferenceGrantSpec } from "../../../api/index.ts";
import type { ApiObject } from "./objects.ts";

/** An object that names another one, and the one that is named. */
export interface CrossReference {
  readonly from: { readonly group: string; readonly kind: string; readonly namespace: string };
  readonly to: {
    readonly group: string;
    readonly kind: string;
    readonly namespace: string;
    readonly name: string;
  };
}

/** Whether an object may name another: within a namespace always, else where a ReferenceGrant says so. */
export function isReferenceGranted(
  grants: readonly ApiObject<ReferenceGrantSpec>[],
  { from, to }: CrossReference,
): boolean {
  if (from.namespace === to.namespace) return true;
  return grants.some(
    ({ namespace, spec }) =>
      namespace === to.namespace &&
      spec !== undefined &&
      spec.from.some(
        (each) =>
          each.group === from.group && each.kind === from.kind && each.namespace === from.namespace,
      ) &&
      spec.to.some(
        (each) =>
          each.group === to.group &&
          each.kind === to.kind &&
          // No name, or an empty one, stands for all.
          (!each.name || each.name === to.name),
      ),
  );
}
