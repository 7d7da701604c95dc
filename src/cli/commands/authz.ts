import { readFileSync } from "node:fs";
import { messageOf, SerinError } from "../../base/index.ts";
import { authorizationOverview, type PolicyOverview } from "../../mesh/index.ts";
import type { CommandIo, CommandSpec } from "../command.ts";
import { clusterStore } from "../kubeconfig.ts";
import { modelOf, podNamed, readObjects } from "../mesh-model.ts";
import { parseConfigDump } from "../output/config-dump.ts";
import { formatDocument } from "../output/document.ts";
import { type RbacPolicy, rbacPolicies } from "../output/rbac-policies.ts";
import { formatTable } from "../output/table.ts";
import { askProxyAdmin, findProxyPod } from "../proxy-admin.ts";
import { parseFlags, parseOutput, usageError } from "../usage.ts";

const help = `Shows the AuthorizationPolicies that the proxy of a pod enforces, asked of the proxy itself.

Usage:
  serin authz check POD[.NAMESPACE] [flags]
  serin authz check --file DUMP [flags]

RULES: how many rules the proxy has of a policy; one without any matches nothing. Below the table stands
what the rules say, how they decide together, and where the proxy and the cluster's policies differ.

Flags:
  -f, --file DUMP        a saved config_dump instead of a pod; - is standard input
  -n, --namespace NS     namespace of POD (default "default")
  -o, --output FORMAT    table | json | yaml (default table)
      --kubeconfig FILE  default: the environment's KUBECONFIG, else ~/.kube/config
  -h, --help             this text

Exit codes: 0 done; 1 the proxy has other policies than the cluster, or there is no such proxy; 2 wrong
usage or unreadable input.
`;

/** istioctl's name for a filter without policies. */
const NOTHING = "_anonymous_match_nothing_";

async function run(args: string[], io: CommandIo): Promise<number> {
  const { values, positionals } = parseFlags(
    args,
    {
      file: { type: "string", short: "f" },
      namespace: { type: "string", short: "n", default: "default" },
      output: { type: "string", short: "o", default: "table" },
      kubeconfig: { type: "string" },
    },
    { maxPositionals: 2 },
  );
  const [verb, argument] = positionals;
  if (verb !== "check") {
    throw usageError(
      verb === undefined
        ? "what to do is missing (check)"
        : `unknown ${JSON.stringify(verb)} (known: check)`,
    );
  }
  const format = parseOutput(values.output);
  if ((argument === undefined) === (values.file === undefined)) {
    throw usageError("give either a pod (POD[.NAMESPACE]) or --file DUMP");
  }
  let enforced: readonly RbacPolicy[];
  let applied: readonly PolicyOverview[] | undefined;
  if (argument === undefined) {
    const path = values.file ?? "-";
    enforced = rbacPolicies(parseConfigDump(readText(path), path).listeners);
  } else {
    const store = clusterStore(values.kubeconfig, io.env);
    const pod = await findProxyPod(store, argument, values.namespace);
    const access = { kubeconfig: values.kubeconfig, env: io.env };
    const text = await askProxyAdmin(pod, "/config_dump", access);
    enforced = rbacPolicies(parseConfigDump(text, `pod ${pod.name}`).listeners);
    const model = modelOf(await readObjects(store));
    applied = authorizationOverview(model, podNamed(model, pod.name, pod.namespace));
  }
  const differences = applied === undefined ? [] : differencesOf(enforced, applied);
  io.stdout.write(
    format === "table"
      ? [
          formatTable([["ACTION", "AuthorizationPolicy", "RULES"], ...rowsOf(enforced, applied)]),
          ...explanationOf(enforced, applied).map((line) => `${line}\n`),
          ...differences.map((line) => `${line}\n`),
        ].join("")
      : formatDocument({ enforced, ...(applied && { applied }), differences }, format),
  );
  return differences.length === 0 ? 0 : 1;
}

function readText(path: string): string {
  try {
    return readFileSync(path === "-" ? 0 : path, "utf8");
  } catch (error) {
    throw new SerinError("SERIN_UNREADABLE_INPUT", `cannot read ${path}: ${messageOf(error)}`, {
      source: "caller",
      cause: error,
    });
  }
}

function rowsOf(
  enforced: readonly RbacPolicy[],
  applied: readonly PolicyOverview[] | undefined,
): readonly (readonly string[])[] {
  const named = enforced
    .filter(({ policy }) => policy !== "")
    .map(({ action, policy, isDryRun, rules }) => [
      titleOf(action, isDryRun),
      dotted(policy),
      String(rules),
    ]);
  const empty = enforced.some(({ policy }) => policy === "");
  const without = (applied ?? []).filter(({ rules }) => rules.length === 0);
  return [
    ...named,
    ...without.map(({ action, policy, isDryRun }) => [
      titleOf(action, isDryRun),
      dotted(policy),
      "0",
    ]),
    ...(empty && without.length === 0 ? [["ALLOW", NOTHING, "1"]] : []),
  ];
}

function titleOf(action: string, isDryRun: boolean): string {
  return isDryRun ? `${action} (dry run)` : action;
}

/** istioctl writes `name.namespace`. */
function dotted(policy: string): string {
  const [namespace = "", name] = policy.split("/");
  return name === undefined ? namespace : `${name}.${namespace}`;
}

function explanationOf(
  enforced: readonly RbacPolicy[],
  applied: readonly PolicyOverview[] | undefined,
): readonly string[] {
  const counting = enforced.filter(({ isDryRun }) => !isDryRun);
  const has = (action: string): boolean => counting.some((policy) => policy.action === action);
  const order = [
    ...(has("DENY") ? ["a request that a DENY rule matches is denied (403)"] : []),
    has("ALLOW")
      ? "one that an ALLOW rule matches is allowed, any other is denied (403)"
      : "every other request is allowed: there is no ALLOW policy",
  ];
  const words = (applied ?? []).flatMap(({ action, policy, isDryRun, rules }) => {
    const title = `  ${titleOf(action, isDryRun)} ${dotted(policy)}`;
    return rules.length === 0
      ? [`${title}: has no rules, and matches nothing`]
      : rules.map((rule, i) => `${title} rules[${i}]: ${rule}`);
  });
  return ["", `In this order: ${order.join("; ")}.`, ...words];
}

/** Policies of the cluster that the proxy does not have as they are, and the other way round. */
function differencesOf(
  enforced: readonly RbacPolicy[],
  applied: readonly PolicyOverview[],
): readonly string[] {
  const keyOf = (each: { action: string; policy: string; isDryRun: boolean }): string =>
    `${each.action} ${each.policy} ${each.isDryRun}`;
  const known = new Map(enforced.map((each) => [keyOf(each), each.rules]));
  const wanted = new Set(applied.map(keyOf));
  return [
    ...applied
      .filter((each) => each.rules.length > 0 && !known.has(keyOf(each)))
      .map(({ policy }) => `The proxy does not have ${dotted(policy)}, which applies to the pod.`),
    ...enforced
      .filter((each) => each.policy !== "" && !wanted.has(keyOf(each)))
      .map(
        ({ policy }) =>
          `The proxy has ${dotted(policy)}, which does not apply to the pod (any more).`,
      ),
  ];
}

export const command: CommandSpec = {
  name: "authz",
  summary: "show the authorization policies that a proxy enforces (check)",
  help,
  run,
};
