import type { KubeObject, VirtualServiceSpec } from "../../api/index.ts";
import { isVisible } from "./model-hosts.ts";
import type { HttpMatchRequest, HttpRoute, StringMatch } from "./model-istio.ts";
import type { ProblemLog } from "./model-object.ts";
import type { MeshVirtualService } from "./model-virtual-services.ts";

interface Parsed {
  readonly object: KubeObject;
  readonly spec: VirtualServiceSpec;
  readonly virtualService: MeshVirtualService;
}

/**
 * Puts the routes of delegates in the place of those that name them. The delegates themselves stay in
 * the list, bound to no gateway, so that their status is theirs. Missing delegates, and matches that no request can have, are
 * dropped and reported. Source: Istio's mergeVirtualServicesIfNeeded.
 */
export function withDelegates(all: readonly Parsed[], log: ProblemLog): readonly Parsed[] {
  const delegates = new Map(
    all
      .filter(({ spec }) => spec.hosts.length === 0)
      .map((each) => [`${each.virtualService.namespace}/${each.virtualService.name}`, each]),
  );
  return all.map((root) => {
    if (root.spec.hosts.length === 0) {
      return { ...root, virtualService: { ...root.virtualService, gateways: [] } };
    }
    const { virtualService, object } = root;
    if (!virtualService.http.some(({ delegate }) => delegate !== undefined)) return root;
    const http = virtualService.http.flatMap((route, i) => {
      const { delegate } = route;
      if (delegate === undefined) return [route];
      const key = `${delegate.namespace || virtualService.namespace}/${delegate.name ?? ""}`;
      const found = delegates.get(key);
      if (found === undefined || !isVisible(found.virtualService, virtualService.namespace)) {
        log.report(
          object,
          `spec.http[${i}].delegate: there is no VirtualService ${key} without hosts; the route is dropped`,
        );
        return [];
      }
      return found.virtualService.http.flatMap((own, j) => {
        const merged = mergedRoute(route, own);
        if (merged === undefined) {
          log.report(
            found.object,
            `spec.http[${j}]: its matches are no part of those of ${virtualService.namespace}/${virtualService.name} spec.http[${i}]; the route is dropped`,
          );
        }
        return merged ?? [];
      });
    });
    return { ...root, virtualService: { ...virtualService, http } };
  });
}

/** The delegate's route within the root's; undefined when no request fits both. */
function mergedRoute(root: HttpRoute, own: HttpRoute): HttpRoute | undefined {
  const match = mergedMatches(root.match ?? [], own.match ?? []);
  if (match === undefined) return undefined;
  const name = [root.name, own.name].filter((part) => part !== undefined && part !== "").join("-");
  const mirrors = own.mirror !== undefined || (own.mirrors ?? []).length > 0 ? own : root;
  return {
    ...own,
    ...(name === "" ? {} : { name }),
    match: match.length > 0 ? [...match] : undefined,
    rewrite: own.rewrite ?? root.rewrite,
    timeout: own.timeout ?? root.timeout,
    retries: own.retries ?? root.retries,
    fault: own.fault ?? root.fault,
    mirror: mirrors.mirror,
    mirrors: mirrors.mirrors,
    mirrorPercent: mirrors.mirrorPercent,
    mirrorPercentage: mirrors.mirrorPercentage,
    corsPolicy: own.corsPolicy ?? root.corsPolicy,
    headers: own.headers ?? root.headers,
  };
}

function mergedMatches(
  roots: readonly HttpMatchRequest[],
  own: readonly HttpMatchRequest[],
): readonly HttpMatchRequest[] | undefined {
  if (roots.length === 0) return own;
  if (own.length === 0) return roots;
  const merged = own.flatMap((inner) =>
    roots.flatMap((outer) => (conflicts(outer, inner) ? [] : [mergedMatch(outer, inner)])),
  );
  return merged.length === 0 ? undefined : merged;
}

function mergedMatch(outer: HttpMatchRequest, inner: HttpMatchRequest): HttpMatchRequest {
  const name = [outer.name, inner.name].filter((part) => part !== undefined && part !== "");
  return {
    ...outer,
    ...defined(inner),
    ...(name.length === 0 ? {} : { name: name.join("-") }),
    headers: { ...outer.headers, ...inner.headers },
    withoutHeaders: { ...outer.withoutHeaders, ...inner.withoutHeaders },
    queryParams: { ...outer.queryParams, ...inner.queryParams },
    sourceLabels: { ...outer.sourceLabels, ...inner.sourceLabels },
    ...(outer.ignoreUriCase === true ? { ignoreUriCase: true } : {}),
  };
}

function defined(match: HttpMatchRequest): HttpMatchRequest {
  return Object.fromEntries(Object.entries(match).filter(([, value]) => value !== undefined));
}

/** Whether nothing of the inner match is a part of the outer one, as far as that can be told. */
function conflicts(outer: HttpMatchRequest, inner: HttpMatchRequest): boolean {
  const single = (["uri", "scheme", "method", "authority"] as const).some((field) =>
    isOutside(outer[field], inner[field]),
  );
  const named = (["headers", "withoutHeaders", "queryParams"] as const).some((field) =>
    Object.entries(inner[field] ?? {}).some(([key, value]) =>
      isOutside(outer[field]?.[key], value),
    ),
  );
  const isOtherPort = !!outer.port && !!inner.port && outer.port !== inner.port;
  const isOtherSource =
    !!outer.sourceNamespace &&
    !!inner.sourceNamespace &&
    outer.sourceNamespace !== inner.sourceNamespace;
  const isOtherLabel = Object.entries(inner.sourceLabels ?? {}).some(
    ([key, value]) => (outer.sourceLabels?.[key] ?? value) !== value,
  );
  const gateways = inner.gateways ?? [];
  const isOtherGateway =
    (outer.gateways ?? []).length > 0 &&
    gateways.some((gateway) => outer.gateways?.includes(gateway) !== true);
  return single || named || isOtherPort || isOtherSource || isOtherLabel || isOtherGateway;
}

function isOutside(outer: StringMatch | undefined, inner: StringMatch | undefined): boolean {
  if (outer === undefined || inner === undefined) return false;
  // Of two expressions nobody can tell which one is a part of the other (Istio).
  if (outer.regex !== undefined || inner.regex !== undefined) return outer.regex !== inner.regex;
  const value = inner.exact ?? inner.prefix ?? "";
  if (outer.prefix !== undefined) return !value.startsWith(outer.prefix);
  if (outer.exact !== undefined) return inner.exact !== outer.exact;
  return false;
}
