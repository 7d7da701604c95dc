import { z } from "zod";
import type { KubeObject } from "../../api/index.ts";
import { SerinError } from "../../base/index.ts";
import {
  describeIngress,
  describePod,
  describeService,
  type ExposureDescription,
  leadsTo,
  type MeshModel,
  type MeshObjects,
  type MeshService,
  type Workload,
} from "../../mesh/index.ts";
import type { CommandIo, CommandSpec } from "../command.ts";
import { clusterStore } from "../kubeconfig.ts";
import { modelOf, podNamed, readObjects } from "../mesh-model.ts";
import { type ContainerPortText, formatPod, formatService } from "../output/description.ts";
import { formatDocument } from "../output/document.ts";
import { outsideAddresses } from "../outside-addresses.ts";
import { splitName } from "../proxy-admin.ts";
import { parseFlags, parseOutput, usageError } from "../usage.ts";

const help = `Describes what the mesh does with a pod or a service: ports and protocols, DestinationRule and
subsets, routes, mutual TLS, policies, where it is exposed, and what is wrong.

Usage:
  serin describe pod POD[.NAMESPACE] [flags]
  serin describe service SERVICE[.NAMESPACE] [flags]

Flags:
  -n, --namespace NS     namespace of what is described (default "default")
  -o, --output FORMAT    table | json | yaml (default table)
      --kubeconfig FILE  default: the environment's KUBECONFIG, else ~/.kube/config
  -h, --help             this text

Exit codes: 0 done; 1 there is no such pod or service; 2 wrong usage.
`;

const KINDS: Readonly<Record<string, "pod" | "service">> = {
  ...{ pod: "pod", pods: "pod", po: "pod" },
  ...{ service: "service", services: "service", svc: "service" },
};

async function run(args: string[], io: CommandIo): Promise<number> {
  const { values, positionals } = parseFlags(
    args,
    {
      namespace: { type: "string", short: "n", default: "default" },
      output: { type: "string", short: "o", default: "table" },
      kubeconfig: { type: "string" },
    },
    { maxPositionals: 2 },
  );
  const [what, argument] = positionals;
  const kind = what !== undefined && Object.hasOwn(KINDS, what) ? KINDS[what] : undefined;
  if (kind === undefined) {
    throw usageError(
      what === undefined
        ? "what to describe is missing (pod, service)"
        : `unknown ${JSON.stringify(what)} (known: pod, service)`,
    );
  }
  if (argument === undefined) throw usageError(`the name of the ${kind} is missing`);
  const format = parseOutput(values.output);
  const objects = await readObjects(clusterStore(values.kubeconfig, io.env));
  const model = modelOf(objects);
  if (kind === "pod") {
    const workload = podNamed(model, argument, values.namespace);
    const pod = describePod(model, workload);
    const ports = containerPorts(objects, workload);
    const services = (model.servedPorts.get(workload) ?? []).map(({ service }) => service);
    const exposures = exposuresOf(model, objects, services, workload);
    io.stdout.write(
      format === "table"
        ? formatPod(pod, ports, exposures)
        : formatDocument({ ...pod, ports, exposures }, format),
    );
    return 0;
  }
  const found = serviceOf(model, argument, values.namespace);
  const service = describeService(model, found, undefined);
  const exposures = exposuresOf(model, objects, [found], undefined);
  io.stdout.write(
    format === "table"
      ? formatService(service, exposures)
      : formatDocument({ ...service, exposures }, format),
  );
  return 0;
}

function serviceOf(model: MeshModel, argument: string, namespace: string): MeshService {
  const [name, where] = splitName(argument, namespace);
  const found =
    model.services.find((each) => each.name === argument && each.namespace === namespace) ??
    model.services.find((each) => each.name === name && each.namespace === where) ??
    model.serviceByHost.get(argument);
  if (found !== undefined) return found;
  throw new SerinError("SERIN_NOT_FOUND", `there is no service ${name} in namespace ${where}`, {
    source: "caller",
  });
}

function exposuresOf(
  model: MeshModel,
  objects: MeshObjects,
  services: readonly MeshService[],
  pod: Workload | undefined,
): readonly ExposureDescription[] {
  const tests = [...new Set(services)].map((service) => leadsTo(model, service, pod));
  return describeIngress(
    model,
    (route) => tests.some((leads) => leads(route)),
    outsideAddresses(objects.services, objects.nodes),
  );
}

const podSchema = z.object({
  spec: z.object({
    containers: z.array(
      z.object({
        name: z.string(),
        ports: z.array(z.object({ containerPort: z.number() })).default([]),
      }),
    ),
  }),
});

/** Every port that a pod's containers declare, with the container. */
function containerPorts(objects: MeshObjects, workload: Workload): readonly ContainerPortText[] {
  const isIt = ({ metadata }: KubeObject): boolean =>
    metadata.name === workload.podName && metadata.namespace === workload.namespace;
  const found = podSchema.safeParse(objects.pods.find(isIt));
  return (found.data?.spec.containers ?? []).flatMap(({ name, ports }) =>
    ports.map(({ containerPort }) => ({ port: containerPort, container: name })),
  );
}

export const command: CommandSpec = {
  name: "describe",
  summary: "describe what the mesh does with a pod or a service",
  help,
  run,
};
