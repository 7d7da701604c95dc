import type { FilterOverride, HttpFilterConfig, RouteConfig } from "./config/runtime-config.ts";
import { applyCors } from "./filters/cors.ts";
import { injectFault } from "./filters/fault.ts";
import { authenticate } from "./filters/jwt.ts";
import { limitRate } from "./filters/local-rate-limit.ts";
import { authorize } from "./filters/rbac.ts";
import { keepSession } from "./filters/stateful-session.ts";
import type { Exchange } from "./upstream/exchange.ts";

/**
 * The filters between route match and router, in the order the configuration has them. `next` runs
 * when none of them has answered; perhaps later.
 */
export function runFilters(
  exchange: Exchange,
  route: RouteConfig | undefined,
  next: () => void,
): void {
  runFrom(0, exchange, route, next);
}

function runFrom(
  index: number,
  exchange: Exchange,
  route: RouteConfig | undefined,
  next: () => void,
): void {
  const filter = exchange.manager.filters[index];
  if (filter === undefined) {
    next();
    return;
  }
  const goOn = (): void => runFrom(index + 1, exchange, route, next);
  const override =
    exchange.clusterChoice?.filterOverrides?.get(filter.name) ??
    route?.filterOverrides.get(filter.name);
  const isOff = override === undefined ? filter.isDisabled : override.kind === "disabled";
  if (isOff) goOn();
  else run(filter, override, exchange, goOn);
}

function run(
  filter: HttpFilterConfig,
  override: FilterOverride | undefined,
  exchange: Exchange,
  next: () => void,
): void {
  switch (filter.kind) {
    case "cors":
      applyCors(exchange, override?.kind === "cors" ? override.cors : undefined, next);
      return;
    case "fault":
      injectFault(exchange, override?.kind === "fault" ? override.fault : filter.fault, next);
      return;
    case "rbac":
      authorize(exchange, filter.rbac, override?.kind === "rbac" ? override.rbac : undefined, next);
      return;
    case "jwt":
      authenticate(exchange, filter.jwt, override, next);
      return;
    case "statefulSession":
      keepSession(
        exchange,
        override?.kind === "statefulSession" ? override.session : filter.session,
        next,
      );
      return;
    case "localRateLimit":
      limitRate(
        exchange,
        override?.kind === "localRateLimit" ? override.limit : filter.limit,
        next,
      );
  }
}
