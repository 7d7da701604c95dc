import { deepEqual, objectAt, objectsAt } from "./json.ts";

/**
 * A pod's quality of service: Guaranteed when every container's CPU and memory requests equal its
 * limits, BestEffort when none asks for anything, else Burstable. An absent request equals its
 * limit.
 */
export function qosClassOf(pod: unknown): "Guaranteed" | "Burstable" | "BestEffort" {
  const resources = ["initContainers", "containers"]
    .flatMap((list) => objectsAt(pod, "spec", list))
    .map((container) => {
      const limits = objectAt(container, "resources", "limits") ?? {};
      return { limits, requests: { ...limits, ...objectAt(container, "resources", "requests") } };
    });
  const pick = (list: Readonly<Record<string, unknown>>): readonly unknown[] => [
    list["cpu"],
    list["memory"],
  ];
  const asks = resources.some(({ requests }) => pick(requests).some((q) => q !== undefined));
  if (!asks) return "BestEffort";
  const isGuaranteed = resources.every(
    ({ limits, requests }) =>
      pick(limits).every((quantity) => quantity !== undefined) &&
      deepEqual(pick(limits), pick(requests)),
  );
  return isGuaranteed ? "Guaranteed" : "Burstable";
}
