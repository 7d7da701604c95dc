import type { Any, ResourceTypeUrl } from "../../xds/index.ts";

/** A resource as it arrived. */
export interface XdsResource {
  readonly name: string;
  readonly version: string;
  readonly any: Any;
}

/** A resource that was refused, for the NACK and the config dump. */
export interface RejectedResource extends XdsResource {
  readonly message: string;
}

export interface ResourceUpdate {
  readonly typeUrl: ResourceTypeUrl;
  readonly upserts: readonly XdsResource[];
  readonly removals: readonly string[];
}

/** Names to subscribe to beside the wildcards of clusters and listeners. */
export interface WantedNames {
  readonly endpoints: ReadonlySet<string>;
  readonly routes: ReadonlySet<string>;
  readonly secrets: ReadonlySet<string>;
}
