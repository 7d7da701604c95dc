import type {
  HttpMatchRequest,
  HttpRoute,
  StringMatch,
  VirtualServiceSpec,
} from "./model-istio.ts";

const MAX_DIRECT_BODY_BYTES = 1_048_576;
const HEADER_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/**
 * What is wrong with a VirtualService beyond its schema, each as `path: message`; empty = nothing.
 * Proxies would refuse it, and with it every other route of the same table.
 */
export function virtualServiceIssues(spec: VirtualServiceSpec): readonly string[] {
  return [
    ...spec.hosts.flatMap((host, i) =>
      isHost(host) ? [] : [`spec.hosts[${i}]: ${JSON.stringify(host)} is not a host name`],
    ),
    ...(spec.http ?? []).flatMap((route, i) => routeIssues(route, `spec.http[${i}]`)),
  ];
}

/** A DNS name, or a wildcard in front of one. */
function isHost(host: string): boolean {
  return host === "*" || /^(?:\*\.)?[A-Za-z0-9_](?:[-A-Za-z0-9_.]*[A-Za-z0-9_])?$/.test(host);
}

function routeIssues(route: HttpRoute, path: string): readonly string[] {
  const issues: string[] = [];
  for (const [i, match] of (route.match ?? []).entries()) {
    issues.push(...matchIssues(match, `${path}.match[${i}]`));
  }
  const targets = route.route ?? [];
  const weights = targets.map((to) => to.weight ?? 0);
  if (weights.some((weight) => weight < 0)) issues.push(`${path}.route: a weight is negative`);
  if (targets.length > 1 && weights.every((weight) => weight === 0)) {
    issues.push(`${path}.route: total destination weight = 0`);
  }
  const actions = [targets.length > 0, !!route.redirect, !!route.directResponse];
  if (actions.filter(Boolean).length !== 1) {
    issues.push(`${path}: must have exactly one of route, redirect, directResponse`);
  }
  const rewrite = route.rewrite?.uriRegexRewrite;
  if (rewrite !== undefined && !isRegex(rewrite.match ?? "")) {
    issues.push(`${path}.rewrite.uriRegexRewrite.match: not a valid RE2 expression`);
  }
  const body = route.directResponse?.body;
  const bodyBytes = Math.max(body?.string?.length ?? 0, ((body?.bytes?.length ?? 0) * 3) / 4);
  if (bodyBytes > MAX_DIRECT_BODY_BYTES) {
    issues.push(`${path}.directResponse.body: must be at most ${MAX_DIRECT_BODY_BYTES} bytes`);
  }
  issues.push(...headerIssues(route.headers, `${path}.headers`));
  for (const [i, to] of targets.entries()) {
    issues.push(...headerIssues(to.headers, `${path}.route[${i}].headers`));
  }
  return issues;
}

function matchIssues(match: HttpMatchRequest, path: string): readonly string[] {
  const single = (["uri", "scheme", "method", "authority"] as const).flatMap((field) =>
    regexIssues(match[field], `${path}.${field}`),
  );
  const many = (["headers", "withoutHeaders", "queryParams"] as const).flatMap((field) =>
    Object.entries(match[field] ?? {}).flatMap(([name, value]) => [
      ...regexIssues(value, `${path}.${field}.${name}`),
      ...(field === "queryParams" || HEADER_NAME.test(name)
        ? []
        : [`${path}.${field}: ${JSON.stringify(name)} is not a header name`]),
    ]),
  );
  return [...single, ...many];
}

function regexIssues(match: StringMatch | undefined, path: string): readonly string[] {
  const regex = match?.regex;
  if (regex === undefined || regex === "*" || isRegex(regex)) return [];
  return [`${path}.regex: not a valid RE2 expression: ${regex}`];
}

/** RE2 is close to JavaScript's syntax without look-around and back-references. */
function isRegex(pattern: string): boolean {
  if (pattern === "" || /\(\?(?:=|!|<=|<!)/.test(pattern) || /\\[1-9k]/.test(pattern)) return false;
  const translated = pattern
    .replaceAll("(?P<", "(?<")
    .replaceAll(/\(\?[imsU]+\)/g, "")
    .replaceAll("\\A", "^")
    .replaceAll("\\z", "$")
    .replaceAll(/\[:\^?\w+:\]/g, "a-z");
  try {
    return new RegExp(translated) instanceof RegExp;
  } catch {
    return false;
  }
}

function headerIssues(headers: HttpRoute["headers"], path: string): readonly string[] {
  return (["request", "response"] as const).flatMap((direction) => {
    const operations = headers?.[direction];
    const place = `${path}.${direction}`;
    const added = [
      ...Object.entries(operations?.set ?? {}),
      ...Object.entries(operations?.add ?? {}),
    ];
    const names = [...added.map(([name]) => name), ...(operations?.remove ?? [])];
    return [
      ...names
        .filter((name) => !HEADER_NAME.test(name.replace(/^:authority$/, "host")))
        .map((name) => `${place}: ${JSON.stringify(name)} is not a header name`),
      ...added
        .filter(([, value]) => /[\r\n\0]/.test(value))
        .map(([name]) => `${place}.${name}: must not contain line breaks`),
      ...added
        .filter(([, value]) =>
          value
            .replaceAll("%%", "")
            .replaceAll(/%[A-Z_0-9]+(?:\([^)]*\))?(?::\d+)?%/g, "")
            .includes("%"),
        )
        .map(([name]) => `${place}.${name}: write %% for a percent sign`),
    ];
  });
}
