/** A control plane alone: `control-plane-process.ts KUBECONFIG PORT`; tells its ports. */
import { createClientStore } from "../../../src/kube/index.ts";
import { startControlPlane } from "../../../src/mesh/index.ts";
import { createLogger, systemClock } from "../../../src/runtime/index.ts";

const [kubeconfigPath = "", port = "0"] = process.argv.slice(2);
const plane = await startControlPlane({
  store: createClientStore({ kubeconfigPath }),
  telemetry: { ingest: () => {}, forget: () => {} },
  logger: createLogger("test", "silent"),
  clock: systemClock,
  host: "127.0.0.1",
  ports: { xds: Number(port), debug: 0, webhook: 0 },
  rootNamespace: "istio-system",
  trustDomain: "cluster.local",
  interceptionMode: "NONE",
  accessLog: false,
});
process.send?.({ xdsPort: plane.ports.xds, debugPort: plane.ports.debug });
process.on("disconnect", () => process.exit());
