import type { RouteConfig } from "./config/runtime-config.ts";
import { decideCors } from "./core/cors.ts";
import { injectFault } from "./fault.ts";
import type { Exchange } from "./upstream/exchange.ts";

/**
 * The filters between route match and router, in the order the configuration has them. `next` runs
 * when none of them has answered; perhaps later.
 */
export function runFilters(exchange: Exchange, route: RouteConfig, next: () => void): void {
  runFrom(0, exchange, route, next);
}

function runFrom(index: number, exchange: Exchange, route: RouteConfig, next: () => void): void {
  const filter = exchange.manager.filters[index];
  if (filter === undefined) {
    next();
    return;
  }
  const goOn = (): void => runFrom(index + 1, exchange, route, next);
  if (filter === "fault") injectFault(exchange, route, goOn);
  else applyCors(exchange, route, goOn);
}

function applyCors(exchange: Exchange, route: RouteConfig, next: () => void): void {
  if (route.cors === undefined) {
    next();
    return;
  }
  const decision = decideCors(route.cors, {
    method: exchange.method,
    header: (name) => exchange.get(name),
  });
  exchange.filterResponseHeaders = decision.responseHeaders;
  if (decision.kind === "pass") next();
  else exchange.reply({ status: 200, body: "", details: "cors_response", isOverloaded: false }, []);
}
