/** The controllers that every cluster has, in the API server's process. */
import type { ControllerContext, RunningController } from "./context.ts";
import { startDeploymentController } from "./deployment-controller.ts";
import { startEndpointController } from "./endpoint-controller.ts";
import { startGarbageCollector } from "./garbage-collector.ts";
import { startNamespaceController } from "./namespace-controller.ts";
import { startReplicaSetController } from "./replica-set-controller.ts";

/**
 * Starts Deployment, ReplicaSet, EndpointSlice and Namespace controllers and the garbage collector.
 * Stop them before the API server.
 */
export function startBuiltInControllers(context: ControllerContext): RunningController {
  const controllers = [
    startDeploymentController(context),
    startReplicaSetController(context),
    startEndpointController(context),
    startNamespaceController(context),
    startGarbageCollector(context),
  ];
  return {
    async stop() {
      await Promise.all(controllers.map((controller) => controller.stop()));
    },
  };
}
