import type { ResourceTypeUrl } from "../../xds/index.ts";

/** One xDS resource, encoded once and shared by every proxy that gets it. */
export interface XdsResource {
  readonly typeUrl: ResourceTypeUrl;
  readonly name: string;
  /** Changes exactly when `body` changes (a hash of it). */
  readonly version: string;
  /** The encoded message: what goes into `Any.value`. */
  readonly body: Uint8Array;
}

/** Everything one proxy may ask for, by type and name. Secrets come from elsewhere. */
export type ResourceSet = ReadonlyMap<ResourceTypeUrl, ReadonlyMap<string, XdsResource>>;
