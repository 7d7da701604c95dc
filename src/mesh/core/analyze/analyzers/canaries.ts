import { objectOf } from "../../model-object.ts";
import type { AnalysisContext, Analyzer, Finding } from "../context.ts";
import { isInjected } from "./injection.ts";

/** Canaries that cannot work, or that check nothing. */
export const canariesAnalyzer: Analyzer = {
  name: "canaries",
  description: "Canaries that share a target, check nothing, are outside of the mesh, or failed",
  codes: ["SRN0021", "SRN0022", "SRN0023", "SRN0024"],
  *analyze(context) {
    yield* sharedTargets(context);
    for (const canary of context.canaries) {
      const { object, namespace, spec } = canary;
      const { metrics = [], webhooks = [] } = spec.analysis;
      if (metrics.length === 0 && webhooks.length === 0 && spec.skipAnalysis !== true) {
        const message =
          "The analysis has neither metrics nor webhooks: whatever runs is promoted. Add metrics such as request-success-rate.";
        yield { code: "SRN0022", object, message, path: ["spec", "analysis"] };
      }
      const { kind, name } = spec.targetRef;
      const target = context.makers.find(
        (maker) =>
          maker.object.kind === kind && maker.name === name && maker.namespace === namespace,
      );
      const isOfMesh = [undefined, "serin", "istio"].includes(spec.provider);
      const isKnown = context.objects.namespaces.some(
        ({ metadata }) => metadata.name === namespace,
      );
      if (target !== undefined && isKnown && isOfMesh && !isInjected(target, context)) {
        const message = `The pods of ${kind} ${namespace}/${name} get no sidecar, so nothing splits or measures their traffic: neither they nor their namespace ask for one.`;
        yield { code: "SRN0023", object, message, path: ["spec", "targetRef"] };
      }
      const status = objectOf(object["status"]);
      if (status["phase"] === "Failed") {
        const said = status["message"];
        const why = typeof said === "string" && said !== "" ? `: ${said}` : ".";
        yield { code: "SRN0024", object, message: `The last rollout failed${why}` };
      }
    }
  },
};

function* sharedTargets({ canaries }: AnalysisContext): Generator<Finding> {
  const byTarget = Map.groupBy(
    canaries,
    ({ namespace, spec: { targetRef } }) => `${targetRef.kind} ${namespace}/${targetRef.name}`,
  );
  for (const [target, all] of byTarget) {
    if (all.length < 2) continue;
    const names = all.map(({ object, name }) => `${object.apiVersion.split("/")[0]} ${name}`);
    const message = `The Canaries ${names.join(", ")} are for the same target ${target}, and undo each other's work.`;
    for (const { object } of all) {
      yield { code: "SRN0021", object, message, path: ["spec", "targetRef"] };
    }
  }
}
