import type { HttpMatchRequest, PathMatch, StringMatch } from "../model-istio.ts";

/** A match block in words: `path begins with /static, header user is jason`. */
export function matchWords(match: HttpMatchRequest): string {
  const { uri, method, authority, scheme, port, gateways, sourceNamespace } = match;
  const words = [
    ...(uri === undefined ? [] : [`path ${valueWords(uri)}`]),
    ...(method === undefined ? [] : [`method ${valueWords(method)}`]),
    ...(authority === undefined ? [] : [`authority ${valueWords(authority)}`]),
    ...(scheme === undefined ? [] : [`scheme ${valueWords(scheme)}`]),
    ...named(match.headers, "header"),
    ...Object.entries(match.withoutHeaders ?? {}).map(
      ([name, value]) => `not header ${name} ${valueWords(value)}`,
    ),
    ...named(match.queryParams, "query parameter"),
    ...(port === undefined || port === 0 ? [] : [`port ${port}`]),
    ...Object.entries(match.sourceLabels ?? {}).map(([key, value]) => `caller has ${key}=${value}`),
    ...(sourceNamespace ? [`caller is in ${sourceNamespace}`] : []),
    ...(gateways === undefined || gateways.length === 0 ? [] : [`on ${gateways.join(", ")}`]),
  ];
  return words.length === 0 ? "every request" : words.join(", ");
}

function named(
  values: Readonly<Record<string, StringMatch>> | undefined,
  what: string,
): readonly string[] {
  return Object.entries(values ?? {}).map(
    ([name, value]) => `${what} ${name} ${valueWords(value)}`,
  );
}

function valueWords({ exact, prefix, suffix, regex, isSegmentPrefix }: PathMatch): string {
  if (exact !== undefined) return `is ${exact}`;
  if (isSegmentPrefix === true && prefix !== "/") return `is ${prefix} or below it`;
  if (prefix !== undefined && prefix !== "") return `begins with ${prefix}`;
  if (suffix !== undefined) return `ends with ${suffix}`;
  if (regex !== undefined && regex !== "*") return `matches ${regex}`;
  return "is present";
}
