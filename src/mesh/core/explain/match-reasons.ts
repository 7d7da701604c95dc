import type { HttpMatchRequest, StringMatch } from "../model-istio.ts";
import { routeMatch } from "../translate/route-match.ts";
import type { DataPlane, RequestHead } from "./question.ts";

/** Why a match block does not fit a request, one sentence for each field that does not; empty = it fits. */
export function mismatches(
  match: HttpMatchRequest | undefined,
  request: RequestHead,
  dataPlane: DataPlane,
): readonly string[] {
  if (match === undefined || dataPlane.routeMatches(routeMatch(match), request)) return [];
  return partsOf(match, request)
    .filter(({ part }) => !dataPlane.routeMatches(routeMatch(part), request))
    .map(({ sentence }) => sentence);
}

interface Part {
  readonly part: HttpMatchRequest;
  readonly sentence: string;
}

/** Every field of a block as a block of its own: all of them must fit. */
function partsOf(match: HttpMatchRequest, request: RequestHead): readonly Part[] {
  const path = request.target.replace(/[?#].*$/s, "");
  const { uri, ignoreUriCase, method, authority, scheme } = match;
  const header = (name: string): string | undefined =>
    request.headers
      .filter(([key]) => key === name.toLowerCase())
      .map(([, value]) => value)
      .join(",") || undefined;
  return [
    ...(uri === undefined
      ? []
      : [
          {
            part: { uri, ...(ignoreUriCase === undefined ? {} : { ignoreUriCase }) },
            sentence: wanted("path", path, uri),
          },
        ]),
    ...(method === undefined
      ? []
      : [{ part: { method }, sentence: wanted("method", request.method, method) }]),
    ...(authority === undefined
      ? []
      : [{ part: { authority }, sentence: wanted("authority", request.authority, authority) }]),
    ...(scheme === undefined
      ? []
      : [{ part: { scheme }, sentence: wanted("scheme", request.scheme, scheme) }]),
    ...Object.entries(match.headers ?? {}).map(([name, value]) => ({
      part: { headers: { [name]: value } },
      sentence: wanted(`header ${name}`, header(name), value),
    })),
    ...Object.entries(match.withoutHeaders ?? {}).map(([name, value]) => ({
      part: { withoutHeaders: { [name]: value } },
      sentence: `header ${name} is ${shown(header(name))}, and must not be ${pattern(value)}`,
    })),
    ...Object.entries(match.queryParams ?? {}).map(([name, value]) => ({
      part: { queryParams: { [name]: value } },
      sentence: wanted(`query parameter ${name}`, queryValue(request.target, name), value),
    })),
  ];
}

function wanted(what: string, found: string | undefined, match: StringMatch): string {
  return `${what} is ${shown(found)}, not ${pattern(match)}`;
}

function shown(value: string | undefined): string {
  return value === undefined ? "missing" : JSON.stringify(value);
}

/** What a match asks for, in words. */
export function pattern({ exact, prefix, regex, suffix }: StringMatch): string {
  if (exact !== undefined) return `exactly ${JSON.stringify(exact)}`;
  if (prefix !== undefined && prefix !== "")
    return `something that begins with ${JSON.stringify(prefix)}`;
  if (suffix !== undefined) return `something that ends with ${JSON.stringify(suffix)}`;
  if (regex !== undefined && regex !== "*") return `a match of ${regex}`;
  return "present";
}

function queryValue(target: string, name: string): string | undefined {
  const query = target.split("?")[1] ?? "";
  return new URLSearchParams(query).get(name) ?? undefined;
}
