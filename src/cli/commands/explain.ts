import { type Explanation, explain, viewFor, withApplied } from "../../mesh/index.ts";
import { systemClock } from "../../runtime/index.ts";
import type { CommandIo, CommandSpec } from "../command.ts";
import { checkedSignatures, createDataPlane } from "../explain/data-plane.ts";
import { proxyFindings } from "../explain/endpoint-health.ts";
import { isRedirected } from "../explain/interception.ts";
import { parseClaims, parseHeaders, parseTarget, tokensIn } from "../explain/request.ts";
import { callerNamed } from "../explain/source.ts";
import { clusterStore } from "../kubeconfig.ts";
import { readManifests } from "../manifests.ts";
import { modelOf, readObjects } from "../mesh-model.ts";
import { formatDocument } from "../output/document.ts";
import { formatExplanation } from "../output/explanation.ts";
import { parseFlags, parseOutput, usageError } from "../usage.ts";

const help = `Explains what becomes of a request, and why: route, subset, weights, faults, timeouts, retries,
mirrors, balancing, mutual TLS, authorization, endpoints. Nothing is sent: the control plane's own code
computes what proxies have, the proxy's own code what they would do.

Usage:
  serin explain --from WHO --to HOST[:PORT] [flags]

Flags:
      --from WHO[.NS]         caller: a pod, a Deployment or an application; KIND/NAME says which. Of an
                              ingress gateway: a request from outside that arrives there
      --to HOST[:PORT]        as the caller names it: reviews:9080; https://HOST for TLS at a gateway
      --path PATH             path and query (default /)
      --method METHOD         default GET
      --header NAME=VALUE     a header; may be repeated
      --jwt TOKEN             a token, sent as Authorization: Bearer
      --claim NAME=VALUE      a claim of a token that is taken to be valid; may be repeated
      --source-principal ID   in place of the caller's own: cluster.local/ns/NS/sa/ACCOUNT
      --with-policy FILE      as if the resources of FILE (- is standard input) had been applied; may
                              be repeated
      --strict                exit code 1 when there are warnings
  -n, --namespace NS          namespace of WHO, and of resources in FILE that name none (default "default")
  -o, --output FORMAT         table | json | yaml (default table)
      --kubeconfig FILE       default: the environment's KUBECONFIG, else ~/.kube/config
  -h, --help                  this text

Exit codes: 0 explained; 1 with --strict there are warnings, or there is no such caller, or the API does not
answer; 2 wrong usage or unreadable input.
`;

async function run(args: string[], io: CommandIo): Promise<number> {
  const text = { type: "string" } as const;
  const list = { type: "string", multiple: true, default: [] as string[] } as const;
  const { values } = parseFlags(args, {
    ...{ from: text, to: text, jwt: text, "source-principal": text, kubeconfig: text },
    ...{ header: list, claim: list, "with-policy": list },
    path: { type: "string", default: "/" },
    method: { type: "string", default: "GET" },
    strict: { type: "boolean", default: false },
    namespace: { type: "string", short: "n", default: "default" },
    output: { type: "string", short: "o", default: "table" },
  });
  const format = parseOutput(values.output);
  if (values.from === undefined) throw usageError("--from is missing: who calls");
  if (values.to === undefined) throw usageError("--to is missing: whom");
  if (values.jwt !== undefined && values.claim.length > 0) {
    throw usageError("give either --jwt or --claim");
  }
  const { authority, target, scheme } = parseTarget(values.to, values.path);
  const bearer =
    values.jwt === undefined ? [] : [["authorization", `Bearer ${values.jwt}`] as const];
  const headers = [...parseHeaders(values.header), ...bearer];
  const claims = parseClaims(values.claim);
  const manifests = values["with-policy"].flatMap(readManifests);

  const nowMs = systemClock.nowMs();
  const store = clusterStore(values.kubeconfig, io.env);
  const found = await readObjects(store);
  const objects = withApplied(found, manifests, {
    namespace: values.namespace,
    now: new Date(nowMs).toISOString(),
  });
  const model = modelOf(objects);
  const source = callerNamed(model, values.from, values.namespace);
  const access = { kubeconfig: values.kubeconfig, env: io.env };
  const findings = await proxyFindings(store, source, access);
  const tokens = tokensIn([target, ...headers.map(([, value]) => value)]);
  const explanation = explain({
    source,
    view: viewFor(model, source),
    isRedirected: isRedirected(objects, source),
    request: { method: values.method, authority, target, scheme, headers },
    claims,
    sourcePrincipal: values["source-principal"],
    dataPlane: createDataPlane(await checkedSignatures(model, tokens), nowMs),
    healthOf: findings.healthOf,
  });
  print(explanation, findings.problem, format, io);
  return values.strict && explanation.warnings.length > 0 ? 1 : 0;
}

function print(
  explanation: Explanation,
  problem: string | undefined,
  format: ReturnType<typeof parseOutput>,
  { stdout, stderr }: CommandIo,
): void {
  if (problem !== undefined) {
    stderr.write(`serin: health is what Kubernetes says of the pods, because ${problem}\n`);
  }
  stdout.write(
    format === "table" ? formatExplanation(explanation) : formatDocument(explanation, format),
  );
}

export const command: CommandSpec = {
  name: "explain",
  summary: "explain what becomes of a request and why, without sending it",
  help,
  run,
};
