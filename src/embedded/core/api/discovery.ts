import type { JsonObject } from "./json.ts";
import { groupVersion, type ResourceInfo, type VersionInfo } from "./resource-info.ts";

/** A resource that is answered, not stored (TokenReview and its like). */
export interface VirtualResource {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly plural: string;
  readonly namespaced: boolean;
}

const VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
const SUBRESOURCE_VERBS: Readonly<Record<string, readonly string[]>> = {
  status: ["get", "patch", "update"],
  scale: ["get", "patch", "update"],
  finalize: ["update"],
  log: ["get"],
  eviction: ["create"],
  binding: ["create"],
  token: ["create"],
};
const SUBRESOURCE_KIND: Readonly<Record<string, readonly [string, string, string]>> = {
  scale: ["autoscaling", "v1", "Scale"],
  eviction: ["policy", "v1", "Eviction"],
  binding: ["", "v1", "Binding"],
  token: ["authentication.k8s.io", "v1", "TokenRequest"],
};
/** Groups that kubectl should prefer, in this order; the others follow by name. */
const GROUP_ORDER = [
  "",
  "apps",
  "events.k8s.io",
  "authentication.k8s.io",
  "authorization.k8s.io",
  "autoscaling",
  "batch",
  // `kubectl get canary` means Serin's own, where Flagger's definitions are installed beside them.
  "serin.dev",
  // The textbook's `kubectl get gateway` means Istio's; Gateway API's short name is gtw.
  "networking.istio.io",
];

interface Listed {
  readonly group: string;
  readonly version: string;
  readonly resource?: ResourceInfo;
  readonly served?: VersionInfo;
  readonly virtual?: VirtualResource;
}

function allListed(
  resources: readonly ResourceInfo[],
  virtual: readonly VirtualResource[],
): readonly Listed[] {
  return [
    ...resources.flatMap((resource) =>
      resource.versions
        .filter((served) => served.served)
        .map((served) => ({ group: resource.group, version: served.name, resource, served })),
    ),
    ...virtual.map((entry) => ({ group: entry.group, version: entry.version, virtual: entry })),
  ];
}

/** Every group with its versions, newest stable first. */
export function groupsOf(
  resources: readonly ResourceInfo[],
  virtual: readonly VirtualResource[],
): readonly { readonly name: string; readonly versions: readonly string[] }[] {
  const groups = new Map<string, Set<string>>();
  for (const { group, version } of allListed(resources, virtual)) {
    const versions = groups.get(group) ?? new Set();
    groups.set(group, versions.add(version));
  }
  const rank = (name: string): number => {
    const at = GROUP_ORDER.indexOf(name);
    return at < 0 ? GROUP_ORDER.length : at;
  };
  return [...groups]
    .map(([name, versions]) => ({ name, versions: [...versions].sort(compareVersions) }))
    .sort((a, b) => rank(a.name) - rank(b.name) || (a.name < b.name ? -1 : 1));
}

/** Kubernetes' order of versions: v10, v2, v1, v2beta1, v1beta1, v1alpha1, then anything else. */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [rankOf(a), rankOf(b)];
  for (let i = 0; i < left.length; i++) {
    const difference = (right[i] ?? 0) - (left[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return a < b ? -1 : a > b ? 1 : 0;
}

function rankOf(version: string): readonly number[] {
  const match = /^v(\d+)(?:(alpha|beta)(\d+))?$/.exec(version);
  if (match === null) return [0, 0, 0];
  const stability = match[2] === undefined ? 3 : match[2] === "beta" ? 2 : 1;
  return [stability, Number(match[1]), Number(match[3] ?? 0)];
}

/** `/api` and `/apis` in one (apidiscovery.k8s.io): `core` picks the legacy group or all others. */
export function aggregatedDiscovery(
  resources: readonly ResourceInfo[],
  virtual: readonly VirtualResource[],
  core: boolean,
  version: "v2" | "v2beta1",
): JsonObject {
  const listed = allListed(resources, virtual);
  const groups = groupsOf(resources, virtual).filter(({ name }) => (name === "") === core);
  return {
    kind: "APIGroupDiscoveryList",
    apiVersion: `apidiscovery.k8s.io/${version}`,
    metadata: {},
    items: groups.map((group) => ({
      metadata:
        group.name === ""
          ? { creationTimestamp: null }
          : { name: group.name, creationTimestamp: null },
      versions: group.versions.map((name) => ({
        version: name,
        freshness: "Current",
        resources: listed
          .filter((entry) => entry.group === group.name && entry.version === name)
          .map(aggregatedResource)
          .sort((a, b) => (String(a["resource"]) < String(b["resource"]) ? -1 : 1)),
      })),
    })),
  };
}

function aggregatedResource(entry: Listed): JsonObject {
  const { group, version, resource, served, virtual } = entry;
  if (virtual !== undefined || resource === undefined || served === undefined) {
    return {
      resource: virtual?.plural,
      responseKind: { group, version, kind: virtual?.kind },
      scope: virtual?.namespaced === true ? "Namespaced" : "Cluster",
      singularResource: virtual?.kind.toLowerCase(),
      verbs: ["create"],
    };
  }
  const subresources = subresourcesOf(resource, served).map((name) => {
    const kind = SUBRESOURCE_KIND[name] ?? [group, version, resource.kind];
    return {
      subresource: name,
      responseKind: { group: kind[0], version: kind[1], kind: kind[2] },
      verbs: SUBRESOURCE_VERBS[name] ?? ["get"],
    };
  });
  return {
    resource: resource.plural,
    responseKind: { group, version, kind: resource.kind },
    scope: resource.namespaced ? "Namespaced" : "Cluster",
    singularResource: resource.singular,
    verbs: VERBS,
    ...(resource.shortNames.length === 0 ? {} : { shortNames: resource.shortNames }),
    ...(resource.categories.length === 0 ? {} : { categories: resource.categories }),
    ...(subresources.length === 0 ? {} : { subresources }),
  };
}

/** The subresources of a resource, by name. */
export function subresourcesOf(resource: ResourceInfo, version: VersionInfo): readonly string[] {
  return [
    ...(version.hasStatus ? ["status"] : []),
    ...(version.scale === undefined ? [] : ["scale"]),
    ...resource.otherSubresources,
  ];
}

/** `/apis` without aggregation. */
export function groupList(
  resources: readonly ResourceInfo[],
  virtual: readonly VirtualResource[],
): JsonObject {
  const groups = groupsOf(resources, virtual).filter(({ name }) => name !== "");
  return { kind: "APIGroupList", apiVersion: "v1", groups: groups.map((g) => apiGroup(g)) };
}

/** `/apis/GROUP`; undefined when there is no such group. */
export function groupDocument(
  resources: readonly ResourceInfo[],
  virtual: readonly VirtualResource[],
  name: string,
): JsonObject | undefined {
  const group = groupsOf(resources, virtual).find((g) => g.name === name && name !== "");
  return group === undefined
    ? undefined
    : { kind: "APIGroup", apiVersion: "v1", ...apiGroup(group) };
}

function apiGroup(group: {
  readonly name: string;
  readonly versions: readonly string[];
}): JsonObject {
  const versions = group.versions.map((version) => ({
    groupVersion: groupVersion(group.name, version),
    version,
  }));
  return { name: group.name, versions, preferredVersion: versions[0] };
}

/** `/api/v1` and `/apis/GROUP/VERSION`; undefined when there is no such version. */
export function resourceList(
  resources: readonly ResourceInfo[],
  virtual: readonly VirtualResource[],
  group: string,
  version: string,
): JsonObject | undefined {
  const listed = allListed(resources, virtual).filter(
    (entry) => entry.group === group && entry.version === version,
  );
  if (listed.length === 0) return undefined;
  return {
    kind: "APIResourceList",
    apiVersion: "v1",
    groupVersion: groupVersion(group, version),
    resources: listed.flatMap(legacyResources),
  };
}

function legacyResources(entry: Listed): readonly JsonObject[] {
  const { resource, served, virtual } = entry;
  if (virtual !== undefined || resource === undefined || served === undefined) {
    return [
      {
        name: virtual?.plural,
        singularName: virtual?.kind.toLowerCase(),
        namespaced: virtual?.namespaced,
        kind: virtual?.kind,
        verbs: ["create"],
      },
    ];
  }
  const { namespaced } = resource;
  return [
    {
      name: resource.plural,
      singularName: resource.singular,
      namespaced,
      kind: resource.kind,
      verbs: VERBS,
      ...(resource.shortNames.length === 0 ? {} : { shortNames: resource.shortNames }),
      ...(resource.categories.length === 0 ? {} : { categories: resource.categories }),
    },
    ...subresourcesOf(resource, served).map((name) => {
      const kind = SUBRESOURCE_KIND[name];
      return {
        name: `${resource.plural}/${name}`,
        singularName: "",
        namespaced,
        ...(kind === undefined ? {} : { group: kind[0], version: kind[1] }),
        kind: kind?.[2] ?? resource.kind,
        verbs: SUBRESOURCE_VERBS[name] ?? ["get"],
      };
    }),
  ];
}
