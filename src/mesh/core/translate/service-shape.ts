import type { MeshService } from "../model-services.ts";

const known = new WeakMap<MeshService, string>();

/**
 * All of a service but who is behind it, as text: equal for two objects that routes, listeners and
 * inbound ports are the same for.
 */
export function shapeOf(service: MeshService): string {
  const seen = known.get(service);
  if (seen !== undefined) return seen;
  const ports = service.ports.map(({ number, name, protocol }) => [number, name ?? null, protocol]);
  const shape = JSON.stringify({ ...service, ports, serviceAccounts: undefined });
  known.set(service, shape);
  return shape;
}
