import { type CorsPolicy, decideCors } from "../core/cors.ts";
import type { Exchange } from "../upstream/exchange.ts";

/** Envoy's cors filter: without a policy of the route it does nothing. */
export function applyCors(
  exchange: Exchange,
  policy: CorsPolicy | undefined,
  next: () => void,
): void {
  if (policy === undefined) {
    next();
    return;
  }
  const decision = decideCors(policy, {
    method: exchange.method,
    header: (name) => exchange.get(name),
  });
  exchange.setOnAnswer(decision.responseHeaders);
  if (decision.kind === "pass") next();
  else exchange.reply({ status: 200, body: "", details: "cors_response", isOverloaded: false }, []);
}
