import type { KubeObject } from "../../api/index.ts";
import type { KubeStore } from "../../kube/store.ts";
import type { CommandIo } from "../command.ts";
import { findControlPlane, ROOT_NAMESPACE } from "../control-plane.ts";
import { clusterStore } from "../kubeconfig.ts";
import { formatDocument, listOf } from "../output/document.ts";
import { serinVersion } from "../serin-version.ts";
import { usageError } from "../usage.ts";
import {
  applyObject,
  deploymentReady,
  listenFailures,
  mergeMeshConfig,
} from "./cluster-changes.ts";
import { confirmed } from "./confirmation.ts";
import { type InstallPlan, installPlan, installState } from "./install-plan.ts";

/** What the command line of `install` and `upgrade` says. */
export interface InstallationFlags {
  readonly set: readonly string[];
  readonly "skip-confirmation": boolean;
  readonly "dry-run": boolean;
  readonly output?: string | undefined;
  readonly "readiness-timeout": string;
  readonly kubeconfig?: string | undefined;
}

/** Installs what the flags ask for; answers the exit code. Throws SERIN_USAGE, SERIN_UNAVAILABLE, SERIN_NOT_FOUND. */
export async function runInstallation(flags: InstallationFlags, io: CommandIo): Promise<number> {
  const plan = installPlan(flags.set);
  const timeoutMs = secondsOf(flags["readiness-timeout"]) * 1000;
  const { output } = flags;
  if (output !== undefined) {
    if (output !== "yaml" && output !== "json") {
      throw usageError(`--output must be yaml or json (found ${output})`);
    }
    io.stdout.write(manifestOf(plan, output));
    return 0;
  }
  const store = clusterStore(flags.kubeconfig, io.env);
  // Gateways are filled in and configured by it: without one they would never start.
  await findControlPlane(store);
  if (flags["dry-run"]) {
    for (const { kind, metadata } of objectsOf(plan)) {
      io.stdout.write(`${kind} ${metadata.namespace}/${metadata.name} would be applied\n`);
    }
    return 0;
  }
  const question = `This will install the ${JSON.stringify(plan.profile)} profile into the cluster. Proceed? (y/N) `;
  if (!flags["skip-confirmation"] && !(await confirmed(question, io))) return 1;
  await install(store, plan, timeoutMs, io);
  return 0;
}

async function install(
  store: KubeStore,
  plan: InstallPlan,
  timeoutMs: number,
  { stdout, stderr, signal }: CommandIo,
): Promise<void> {
  await mergeMeshConfig(store, plan.meshConfig);
  await applyObject(store, installState(plan, serinVersion()));
  stdout.write("✔ Istio core installed\n✔ Istiod installed\n");
  for (const { objects } of plan.components) {
    for (const object of objects) await applyObject(store, object);
  }
  for (const { title, objects } of plan.components) {
    const deployments = objects.filter(({ kind }) => kind === "Deployment");
    for (const { metadata } of deployments) {
      stderr.write(`- waiting for deployment ${ROOT_NAMESPACE}/${metadata.name}\n`);
      await deploymentReady(store, metadata.name, { timeoutMs, signal });
      for (const failure of await listenFailures(store, metadata.name)) {
        stderr.write(
          `! service ${ROOT_NAMESPACE}/${metadata.name}: ${failure}; its node ports work\n`,
        );
      }
    }
    stdout.write(`✔ ${title}\n`);
  }
  stdout.write("✔ Installation complete\n");
}

function objectsOf(plan: InstallPlan): readonly KubeObject[] {
  return [
    installState(plan, serinVersion()),
    ...plan.components.flatMap((component) => component.objects),
  ];
}

function manifestOf(plan: InstallPlan, format: "yaml" | "json"): string {
  const objects = objectsOf(plan);
  if (format === "json") return formatDocument(listOf(objects), format);
  return objects.map((object) => formatDocument(object, format)).join("---\n");
}

function secondsOf(text: string): number {
  if (/^\d{1,5}$/.test(text)) return Number(text);
  throw usageError(`--readiness-timeout must be whole seconds (found ${JSON.stringify(text)})`);
}
