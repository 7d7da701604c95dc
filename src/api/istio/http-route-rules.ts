import type { Problem } from "../rules.ts";

/** What of an HTTP route the rules below look at. */
interface HttpRouteFields {
  readonly route?: readonly { readonly weight?: number | undefined }[] | undefined;
  readonly redirect?: unknown;
  readonly directResponse?: unknown;
  readonly delegate?: unknown;
  readonly fault?: unknown;
  readonly rewrite?: unknown;
  readonly mirror?: unknown;
  readonly mirrors?: readonly unknown[] | undefined;
}

/** Which fields of an HTTP route exclude each other. Source: Istio's validateHTTPRouteConflict. */
export function* httpRouteProblems(route: HttpRouteFields): Generator<Problem> {
  const cannot = (field: keyof HttpRouteFields, other: string): Problem => [
    [field],
    `cannot be set together with ${other}`,
  ];
  if (route.delegate !== undefined) {
    for (const field of ["redirect", "route"] as const) {
      if (route[field] !== undefined) yield cannot(field, "delegate");
    }
    return;
  }
  const hasRoute = (route.route ?? []).length > 0;
  const instead = (["redirect", "directResponse"] as const).filter((f) => route[f] !== undefined);
  for (const field of instead) {
    if (hasRoute) yield [[field], `HTTP route cannot contain both route and ${field}`];
    if (route.fault !== undefined) yield cannot("fault", field);
    if (route.rewrite !== undefined) yield cannot("rewrite", field);
  }
  if (instead.length > 1) yield cannot("directResponse", "redirect");
  if (!hasRoute && instead.length === 0) {
    yield [[], "HTTP route must have a route, redirect, directResponse or delegate"];
  }
  if (route.mirror !== undefined && (route.mirrors ?? []).length > 0) {
    yield cannot("mirrors", "mirror");
  }
}

/** Several destinations of which none gets anything. */
export function* weightProblems(
  route: readonly { readonly weight?: number | undefined }[],
): Generator<Problem> {
  if (route.length > 1 && route.every(({ weight = 0 }) => weight === 0)) {
    yield [[], "total destination weight must be more than 0"];
  }
}
