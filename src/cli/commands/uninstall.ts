import { SerinError } from "../../base/index.ts";
import type { CommandIo, CommandSpec } from "../command.ts";
import { ROOT_NAMESPACE } from "../control-plane.ts";
import { INSTALLED_TYPES } from "../install/cluster-changes.ts";
import { confirmed } from "../install/confirmation.ts";
import { MANAGED_LABEL } from "../install/gateway-manifests.ts";
import { clusterStore } from "../kubeconfig.ts";
import { parseFlags } from "../usage.ts";

const help = `Takes away what \`serin install\` put into the cluster, and nothing else. Gateway and VirtualService
resources, and the control plane, stay.

Usage:
  serin uninstall [flags]

Flags:
  -y, --skip-confirmation  do not ask
      --dry-run            only say what would be deleted
      --kubeconfig FILE    default: the environment's KUBECONFIG, else ~/.kube/config
  -h, --help               this text

Exit codes: 0 uninstalled; 1 not confirmed, or nothing is installed; 2 wrong usage.
`;

async function run(args: string[], io: CommandIo): Promise<number> {
  const { values } = parseFlags(args, {
    "skip-confirmation": { type: "boolean", short: "y", default: false },
    "dry-run": { type: "boolean", default: false },
    kubeconfig: { type: "string" },
  });
  const store = clusterStore(values.kubeconfig, io.env);
  const labelSelector = Object.entries(MANAGED_LABEL)
    .map((pair) => pair.join("="))
    .join(",");
  const found = await Promise.all(
    INSTALLED_TYPES.map(async (type) => {
      const { items } = await store.list(type, { namespace: ROOT_NAMESPACE, labelSelector });
      return items.map((object) => ({ type, metadata: object.metadata }));
    }),
  );
  const objects = found.flat();
  if (objects.length === 0) {
    throw new SerinError("SERIN_NOT_FOUND", "nothing is installed", { source: "caller" });
  }
  const nameOf = ({ type, metadata }: (typeof objects)[number]) =>
    `${type.plural}/${metadata.name}`;
  if (values["dry-run"]) {
    for (const object of objects) io.stdout.write(`${nameOf(object)} would be deleted\n`);
    return 0;
  }
  const question = `This will delete ${objects.map(nameOf).join(", ")} in ${ROOT_NAMESPACE}. Proceed? (y/N) `;
  if (!values["skip-confirmation"] && !(await confirmed(question, io))) return 1;
  for (const { type, metadata } of objects) {
    await store.delete(type, metadata, { propagation: "Background" });
    io.stdout.write(`  Removed ${type.kind}:${metadata.namespace}:${metadata.name}.\n`);
  }
  io.stdout.write("✔ Uninstall complete\n");
  return 0;
}

export const command: CommandSpec = {
  name: "uninstall",
  summary: "take away what install put in place",
  help,
  run,
};
