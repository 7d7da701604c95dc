import type { HttpMatchRequest } from "../model-istio.ts";
import { routeMatch } from "../translate/route-match.ts";
import { matchWords } from "./match-words.ts";
import type { DataPlane, RequestHead } from "./question.ts";

/** Why a match block does not fit a request: what it asks for and what there is, part by part; empty = it fits. */
export function mismatches(
  match: HttpMatchRequest | undefined,
  request: RequestHead,
  dataPlane: DataPlane,
): readonly string[] {
  if (match === undefined || dataPlane.routeMatches(routeMatch(match), request)) return [];
  return partsOf(match, request)
    .filter(({ part }) => !dataPlane.routeMatches(routeMatch(part), request))
    .map(({ part, found }) => `${matchWords(part)} (found ${shown(found)})`);
}

interface Part {
  readonly part: HttpMatchRequest;
  readonly found: string | undefined;
}

/** Every field of a block as a block of its own: all of them must fit. */
function partsOf(match: HttpMatchRequest, request: RequestHead): readonly Part[] {
  const { uri, ignoreUriCase, method, authority, scheme } = match;
  const caseOf = ignoreUriCase === undefined ? {} : { ignoreUriCase };
  const [path, query = ""] = request.target.split("?", 2);
  const header = (name: string): string | undefined => {
    const values = request.headers.filter(([key]) => key === name.toLowerCase());
    return values.length === 0 ? undefined : values.map(([, value]) => value).join(",");
  };
  const parameter = (name: string): string | undefined =>
    new URLSearchParams(query).get(name) ?? undefined;
  return [
    ...(uri === undefined ? [] : [{ part: { uri, ...caseOf }, found: path }]),
    ...(method === undefined ? [] : [{ part: { method }, found: request.method }]),
    ...(authority === undefined ? [] : [{ part: { authority }, found: request.authority }]),
    ...(scheme === undefined ? [] : [{ part: { scheme }, found: request.scheme }]),
    ...Object.entries(match.headers ?? {}).map(([name, value]) => ({
      part: { headers: { [name]: value } },
      found: header(name),
    })),
    ...Object.entries(match.withoutHeaders ?? {}).map(([name, value]) => ({
      part: { withoutHeaders: { [name]: value } },
      found: header(name),
    })),
    ...Object.entries(match.queryParams ?? {}).map(([name, value]) => ({
      part: { queryParams: { [name]: value } },
      found: parameter(name),
    })),
  ];
}

function shown(value: string | undefined): string {
  return value === undefined ? "nothing" : JSON.stringify(value);
}
