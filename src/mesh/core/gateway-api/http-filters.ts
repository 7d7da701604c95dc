import type {
  Cors,
  HeaderModifier,
  HttpFilter,
  PathModifier,
  RequestRedirect,
} from "../../../api/index.ts";
import type {
  CorsPolicy,
  HeaderOperations,
  Headers,
  HttpRedirect,
  HttpRoute,
} from "../model-istio.ts";
import { destinationOf, INVALID, type RouteContext } from "./backends.ts";

/** The listener that requests come in at; undefined within the mesh. */
export interface ListenerPort {
  readonly port: number;
  readonly scheme: "http" | "https";
}

const DEFAULT_PORTS = { http: 80, https: 443 } as const;
const DEFAULT_REDIRECT = 302;
/** Gateway API's, in seconds. */
const DEFAULT_MAX_AGE = 5;

/** What the filters of a rule make of a route; `undefined` when one of them is not supported. */
export function filtered(
  filters: readonly HttpFilter[],
  prefix: string | undefined,
  listener: ListenerPort | undefined,
  context: RouteContext,
): HttpRoute | undefined {
  const route: { -readonly [Field in keyof HttpRoute]: HttpRoute[Field] } = {};
  const mirrors: NonNullable<HttpRoute["mirrors"]> = [];
  for (const filter of filters) {
    const { requestMirror, requestRedirect, urlRewrite, cors } = filter;
    if (filter.type === "ExtensionRef" || filter.type === "ExternalAuth") {
      context.faults.push({
        reason: "UnsupportedValue",
        message: `filters of type ${filter.type} are not supported: such requests get an error`,
      });
      return undefined;
    }
    if (requestMirror !== undefined) {
      const destination = destinationOf(requestMirror.backendRef, context);
      if (destination !== INVALID) {
        mirrors.push({ destination, percentage: { value: mirroredPercent(requestMirror) } });
      }
    }
    if (requestRedirect !== undefined) {
      route.redirect = redirectOf(requestRedirect, prefix, listener);
    }
    if (urlRewrite !== undefined) {
      const { hostname, path } = urlRewrite;
      route.rewrite = {
        ...(hostname === undefined ? {} : { authority: hostname }),
        ...(path === undefined ? {} : rewriteOf(path, prefix)),
      };
    }
    if (cors !== undefined) route.corsPolicy = corsOf(cors);
  }
  const headers = modifiedHeaders(filters);
  return {
    ...route,
    ...(mirrors.length === 0 ? {} : { mirrors }),
    ...(headers === undefined ? {} : { headers }),
  };
}

/** The header operations of filters; undefined without any. */
export function modifiedHeaders(filters: readonly HttpFilter[]): Headers | undefined {
  const request = filters.find(({ type }) => type === "RequestHeaderModifier");
  const response = filters.find(({ type }) => type === "ResponseHeaderModifier");
  if (request === undefined && response === undefined) return undefined;
  return {
    request: operationsOf(request?.requestHeaderModifier),
    response: operationsOf(response?.responseHeaderModifier),
  };
}

function operationsOf(modifier: HeaderModifier | undefined): HeaderOperations | undefined {
  if (modifier === undefined) return undefined;
  const values = (list: HeaderModifier["set"]): Record<string, string> =>
    // Values are literal; proxies read % as the start of a variable.
    Object.fromEntries((list ?? []).map(({ name, value }) => [name, value.replaceAll("%", "%%")]));
  return { set: values(modifier.set), add: values(modifier.add), remove: modifier.remove ?? [] };
}

function mirroredPercent({ percent, fraction }: NonNullable<HttpFilter["requestMirror"]>): number {
  if (percent !== undefined) return percent;
  if (fraction === undefined) return 100;
  return (100 * fraction.numerator) / (fraction.denominator ?? 100);
}

/**
 * A new path. `prefix` is the PathPrefix that was matched: it is replaced as whole segments, so that
 * `/foo/bar` with `/foo` replaced by `/` is `/bar`.
 */
function rewriteOf(path: PathModifier, prefix = "/"): NonNullable<HttpRoute["rewrite"]> {
  if (path.type === "ReplaceFullPath") {
    return {
      uriRegexRewrite: { match: "^.*$", rewrite: literal(path.replaceFullPath || "/") },
    };
  }
  const from = withoutSlash(prefix);
  const to = withoutSlash(path.replacePrefixMatch ?? "");
  if (from === "") return { uri: `${to}/` };
  return to === "" ? { uriRegexRewrite: emptied(from) } : { uri: to };
}

/** Takes the prefix away, and the slash behind it, of which one stays. */
function emptied(prefix: string): { readonly match: string; readonly rewrite: string } {
  return { match: `^${prefix.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}/?`, rewrite: "/" };
}

/** The text as a replacement: RE2 reads \1 as a group. */
function literal(text: string): string {
  return text.replaceAll("\\", "\\\\");
}

function withoutSlash(path: string): string {
  return path.replace(/\/+$/, "");
}

function redirectOf(
  redirect: RequestRedirect,
  prefix: string | undefined,
  listener: ListenerPort | undefined,
): HttpRedirect {
  const { scheme, hostname, path, statusCode } = redirect;
  return {
    redirectCode: statusCode ?? DEFAULT_REDIRECT,
    ...(scheme === undefined ? {} : { scheme }),
    ...(hostname === undefined ? {} : { authority: hostname }),
    ...portOf(redirect, listener),
    ...redirectedPath(path, prefix),
  };
}

/** The port is the one asked for, else the scheme's own, else the listener's. */
function portOf(
  { port, scheme }: RequestRedirect,
  listener: ListenerPort | undefined,
): { readonly port?: number } {
  if (port === undefined && listener === undefined) return {};
  const own = listener?.port;
  const target = port ?? (scheme === undefined ? own : DEFAULT_PORTS[scheme]);
  const isDefault = target === DEFAULT_PORTS[scheme ?? listener?.scheme ?? "http"];
  // A well-known port is not written, and who came to one did not write it either.
  const cameByDefault = own === DEFAULT_PORTS.http || own === DEFAULT_PORTS.https;
  if (target === undefined || (isDefault && cameByDefault)) return {};
  return { port: target };
}

function redirectedPath(path: PathModifier | undefined, prefix = "/"): Partial<HttpRedirect> {
  if (path === undefined) return {};
  if (path.type === "ReplaceFullPath") return { uri: path.replaceFullPath || "/" };
  const from = withoutSlash(prefix);
  const to = withoutSlash(path.replacePrefixMatch ?? "");
  if (from === "") return { uri: `%PREFIX()%${to}/` };
  return to === "" ? { uriRegexRewrite: emptied(from) } : { uri: `%PREFIX()%${to}` };
}

function corsOf(cors: Cors): CorsPolicy {
  return {
    allowOrigins: (cors.allowOrigins ?? []).map((origin) =>
      origin.includes("*") ? { regex: originPattern(origin) } : { exact: origin },
    ),
    allowMethods: cors.allowMethods,
    allowHeaders: cors.allowHeaders,
    exposeHeaders: cors.exposeHeaders,
    maxAge: `${cors.maxAge ?? DEFAULT_MAX_AGE}s`,
    allowCredentials: cors.allowCredentials,
  };
}

function originPattern(origin: string): string {
  return origin.replace(/[.+?^${}()|[\]\\]/g, "\\$&").replaceAll("*", ".*");
}

/** What a backend's own filters are: header changes; undefined when there are others. */
export function backendHeaders(
  filters: readonly HttpFilter[],
  context: RouteContext,
): { readonly headers: Headers | undefined } | undefined {
  const other = filters.find(
    ({ type }) => type !== "RequestHeaderModifier" && type !== "ResponseHeaderModifier",
  );
  if (other === undefined) return { headers: modifiedHeaders(filters) };
  context.faults.push({
    reason: "UnsupportedValue",
    message: `filters of type ${other.type} are not supported on a backend: its share of requests gets an error`,
  });
  return undefined;
}
