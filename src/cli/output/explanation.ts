import { formatDurationMs } from "../../base/index.ts";
import type {
  ExplainedDestination,
  ExplainedEndpoint,
  ExplainedRoute,
  Explanation,
  Outcome,
  RuleVerdict,
} from "../../mesh/index.ts";
import { formatTable } from "./table.ts";

/** An explanation for people: the request, its route, where it goes, what comes of it, what to mind. */
export function formatExplanation(explanation: Explanation): string {
  const { outcomes, warnings, route, destinations } = explanation;
  const parts = [
    requestText(explanation),
    routeText(route),
    ...destinations.map(destinationText),
    `Outcome:\n${outcomes.map((outcome) => `  ${outcomeText(outcome)}\n`).join("")}`,
    ...(warnings.length === 0
      ? []
      : [
          `Warnings:\n${warnings.map(({ about, message }) => `  ${about}: ${message}\n`).join("")}`,
        ]),
  ];
  return parts.join("\n");
}

function requestText({ request, source }: Explanation): string {
  const { method, authority, target, headers } = request;
  const as = source.hasSidecar ? ` as ${source.principal}` : ", which has no sidecar";
  const { access } = source;
  return [
    `Request: ${method} ${request.scheme}://${authority}${target}`,
    ...headers.map(([name, value]) => `  ${name}: ${shortened(value)}`),
    `  from pod ${source.pod} (${source.workload})${as}`,
    ...(access === undefined
      ? []
      : [
          `  access to the gateway: ${access.reason}`,
          ...access.rules.map((rule) => `  ${ruleText(rule)}`),
        ]),
    "",
  ].join("\n");
}

/** A token is long, and nobody's business. */
function shortened(value: string): string {
  return value.length > 60 ? `${value.slice(0, 57)}...` : value;
}

function routeText(route: ExplainedRoute): string {
  const lines = [
    `Route: ${route.reason}`,
    ...route.tried.map(({ match, result, reasons }) =>
      reasons.length === 0
        ? `  ${match}: ${result}`
        : `  ${match}: ${result}: ${reasons.join("; ")}`,
    ),
    ...(route.virtualHost === undefined ? [] : [`  virtual host ${route.virtualHost}`]),
    ...detailsOf(route).map((line) => `  ${line}`),
  ];
  return `${lines.join("\n")}\n`;
}

function detailsOf(route: ExplainedRoute): readonly string[] {
  const { timeoutMs, retries, fault, mirrors = [], hashedBy = [] } = route;
  if (timeoutMs === undefined) return [];
  const perTry =
    retries?.perTryTimeoutMs === undefined
      ? ""
      : `, ${formatDurationMs(retries.perTryTimeoutMs)} for each try`;
  return [
    timeoutMs === 0 ? "timeout: none" : `timeout: ${formatDurationMs(timeoutMs)}, retries included`,
    retries === undefined
      ? "retries: none"
      : `retries: ${retries.attempts} on ${retries.on}${perTry}`,
    ...(fault?.delay === undefined
      ? []
      : [
          `fault: ${percent(fault.delay.percent)} are delayed by ${formatDurationMs(fault.delay.delayMs)}`,
        ]),
    ...(fault?.abort === undefined
      ? []
      : [`fault: ${percent(fault.abort.percent)} are answered ${fault.abort.status} at once`]),
    ...mirrors.map(
      (mirror) => `mirror: ${percent(mirror.percent)} are copied to ${mirror.cluster}`,
    ),
    ...(route.rewrittenPath === undefined ? [] : [`path rewritten to ${route.rewrittenPath}`]),
    ...(route.rewrittenHost === undefined ? [] : [`host rewritten to ${route.rewrittenHost}`]),
    ...(hashedBy.length === 0
      ? []
      : [`placed by ${hashedBy.join(", ")}: requests with the same go to one endpoint`]),
  ];
}

function destinationText(destination: ExplainedDestination): string {
  const { host, port, subset, weightPercent, problem, endpoints } = destination;
  const name = `${host}:${port}${subset === undefined ? "" : ` subset ${subset}`}`;
  const rows = endpoints.map((each) => [
    each.address,
    each.pod ?? "-",
    each.health,
    percent(each.sharePercent),
    `${each.tls.client} -> ${each.tls.server}`,
    accessText(each),
  ]);
  const table = formatTable([["ENDPOINT", "POD", "HEALTH", "SHARE", "TLS", "ACCESS"], ...rows]);
  return [
    `Destination: ${name}, ${percent(weightPercent)}\n`,
    ...policyLines(destination).map((line) => `  ${line}\n`),
    ...(problem === undefined ? [] : [`  nothing can be reached: ${problem}\n`]),
    ...(rows.length === 0 ? [] : [indented(table)]),
    ...reasonLines(endpoints).map((line) => `  ${line}\n`),
  ].join("");
}

function indented(text: string): string {
  return text.replace(/^(?=.)/gm, "  ");
}

function policyLines({
  destinationRule,
  loadBalancer,
  limits = {},
  outlierDetection: outlier,
}: ExplainedDestination): readonly string[] {
  const named = Object.entries(limits).map(([name, value]) => `${name} ${value}`);
  return [
    destinationRule === undefined ? "no DestinationRule" : `DestinationRule ${destinationRule}`,
    ...(loadBalancer === undefined ? [] : [`balanced by ${loadBalancer}`]),
    ...(named.length === 0 ? [] : [`limits of each caller's proxy: ${named.join(", ")}`]),
    ...(outlier === undefined
      ? []
      : [
          `ejected after ${outlier.consecutive5xx} failures in a row, for ${formatDurationMs(outlier.baseEjectionTimeMs)}, ${outlier.maxEjectionPercent}% of the endpoints at most`,
        ]),
  ];
}

function accessText({ access, tls }: ExplainedEndpoint): string {
  if (tls.conflict !== undefined) return "not reached";
  if (access === undefined) return "not asked";
  return access.isAllowed ? "allowed" : "denied";
}

/** Why, once for all endpoints that have the same reasons. */
function reasonLines(endpoints: readonly ExplainedEndpoint[]): readonly string[] {
  const lines = endpoints.flatMap(({ tls, access }) => [
    `mTLS: ${tls.clientReason}; ${tls.serverReason}`,
    ...(tls.conflict === undefined ? [] : [`mTLS: ${tls.conflict}`]),
    ...(access === undefined ? [] : [`access: ${access.reason}`, ...access.rules.map(ruleText)]),
  ]);
  return [...new Set(lines)];
}

function ruleText({ action, policy, rule, isMatch, isDryRun, reasons }: RuleVerdict): string {
  const name = `${action} ${policy}${rule < 0 ? "" : ` rules[${rule}]`}`;
  const trial = isDryRun ? " (dry run)" : "";
  return isMatch
    ? `  ${name}${trial}: matches`
    : `  ${name}${trial}: does not match: ${reasons.join("; ")}`;
}

function outcomeText({ sharePercent, status, workload, body, reason }: Outcome): string {
  const share = percent(sharePercent);
  if (status === "application") {
    return workload === undefined
      ? `${share} ${reason}`
      : `${share} answered by ${workload}: ${reason}`;
  }
  const who = workload === undefined ? "" : ` for ${workload}`;
  const what = status === undefined ? "the connection is closed" : `answered ${status}`;
  return `${share} ${what}${who}${body === undefined ? "" : ` (${body})`}: ${reason}`;
}

function percent(value: number): string {
  return `${Math.round(value * 100) / 100}%`;
}
