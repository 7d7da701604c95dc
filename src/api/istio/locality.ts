import { z } from "zod";
import { count, text, texts } from "../fields.ts";
import { type Problem, rules } from "../rules.ts";

const distribution = z
  .strictObject({ from: text.optional(), to: z.record(z.string(), count).optional() })
  .superRefine(
    rules(function* ({ to = {} }) {
      const weights = Object.entries(to);
      for (const [locality, weight] of weights) {
        if (weight < 1 || weight > 100) yield [["to", locality], "must be from 1 to 100"];
      }
      const total = weights.reduce((sum, [, weight]) => sum + weight, 0);
      if (total !== 100) yield [["to"], `weights must add up to 100 (found ${total})`];
    }),
  );

const failover = z.strictObject({ from: text.optional(), to: text.optional() }).superRefine(
  rules(function* ({ from = "", to = "" }) {
    if (from === to) yield [["to"], "must be another region than from"];
    for (const [field, region] of Object.entries({ from, to })) {
      if (/[/*]/.test(region)) yield [[field], "must be a region, without a zone or *"];
    }
  }),
);

/** Istio's LocalityLoadBalancerSetting. */
export const localityLbSetting = z
  .strictObject({
    distribute: z.array(distribution).optional(),
    failover: z.array(failover).optional(),
    failoverPriority: texts.optional(),
    enabled: z.boolean().optional(),
  })
  .superRefine(
    rules(function* (setting): Generator<Problem> {
      const { distribute = [], failover: regions = [] } = setting;
      if (distribute.length > 0 && regions.length > 0) {
        yield [["failover"], "cannot be set together with distribute"];
      }
    }),
  );
