import { builtInResources } from "../core/api/built-in-kinds.ts";
import { resourceOfDefinition } from "../core/api/crd-resource.ts";
import type { JsonObject } from "../core/api/json.ts";
import {
  type ResourceInfo,
  servedVersion,
  storageKey,
  type VersionInfo,
} from "../core/api/resource-info.ts";
import { builtInSchema } from "./built-in-schemas.ts";
import type { Storage } from "./storage.ts";

/** A resource in one of its served versions. */
export interface ServedResource {
  readonly resource: ResourceInfo;
  readonly version: VersionInfo;
}

const DEFINITIONS = { group: "apiextensions.k8s.io", plural: "customresourcedefinitions" };

/** Which resources there are: the built-in ones and what CustomResourceDefinitions declare. */
export class Registry {
  readonly #resources = new Map<string, ResourceInfo>();
  /** Custom resources by the name of their definition. */
  readonly #custom = new Map<string, string>();
  #revision = 0;

  constructor(storage: Storage) {
    for (const resource of builtInResources(builtInSchema)) {
      this.#resources.set(storageKey(resource), resource);
    }
    for (const definition of storage.list(DEFINITIONS)) this.#declare(definition);
    storage.subscribe(DEFINITIONS, ({ type, object }) => {
      if (type === "DELETED") this.#forget(object.metadata.name);
      else this.#declare(object);
    });
  }

  /** Changes whenever the set of resources or a schema does. */
  get revision(): number {
    return this.#revision;
  }

  get resources(): readonly ResourceInfo[] {
    return [...this.#resources.values()];
  }

  find(group: string, plural: string): ResourceInfo | undefined {
    return this.#resources.get(storageKey({ group, plural }));
  }

  findServed(group: string, version: string, plural: string): ServedResource | undefined {
    const resource = this.find(group, plural);
    const served = resource === undefined ? undefined : servedVersion(resource, version);
    return resource === undefined || served === undefined
      ? undefined
      : { resource, version: served };
  }

  #declare(definition: object & { readonly metadata: { readonly name: string } }): void {
    const resource = resourceOfDefinition(definition as unknown as JsonObject);
    this.#resources.set(storageKey(resource), resource);
    this.#custom.set(definition.metadata.name, storageKey(resource));
    this.#revision += 1;
  }

  #forget(name: string): void {
    const key = this.#custom.get(name);
    if (key !== undefined) this.#resources.delete(key);
    this.#custom.delete(name);
    this.#revision += 1;
  }
}
