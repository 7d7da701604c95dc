import {
  durationToMs,
  type envoy_config_overload_v3_OverloadAction,
  type envoy_config_overload_v3_OverloadManager,
  type envoy_config_overload_v3_ResourceMonitor,
  type envoy_config_overload_v3_Trigger,
  unpackAny,
} from "../../../xds/index.ts";
import {
  OVERLOAD_ACTIONS,
  type OverloadAction,
  type OverloadActionKind,
  type OverloadConfig,
  type OverloadTrigger,
  type ResourceMonitor,
  type ScaledTimer,
} from "../overload.ts";
import type { Scope } from "./scope.ts";

const HEAP = "envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig";
const INJECTED = "envoy.extensions.resource_monitors.injected_resource.v3.InjectedResourceConfig";
const CONNECTIONS =
  "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig";
const SCALE_TIMERS = "envoy.config.overload.v3.ScaleTimersOverloadActionConfig";
const DEFAULT_REFRESH_MS = 1_000;
/** ScaleTimersOverloadActionConfig.TimerType */
const TIMERS = [undefined, "connectionIdle", "streamIdle"] as const;

/** Compiles a bootstrap's overload manager. Problems go to `scope`. */
export function compileOverload(
  manager: envoy_config_overload_v3_OverloadManager,
  scope: Scope,
): OverloadConfig {
  const resources = manager.resource_monitors ?? [];
  if (resources.length === 0) scope.at("resource_monitors").fail("must not be empty");
  const names = new Set<string>();
  let maxConnections: number | undefined;
  const monitors = resources.flatMap((monitor, i): readonly ResourceMonitor[] => {
    const place = scope.at("resource_monitors", i);
    const name = monitor.name ?? "";
    if (name === "") place.at("name").fail("must not be empty");
    if (names.has(name)) place.at("name").fail(`is there twice: ${name}`);
    names.add(name);
    const connections = unpackAny(CONNECTIONS, monitor.typed_config);
    if (connections === undefined) return compileMonitor(monitor, name, place);
    maxConnections = Number(connections.max_active_downstream_connections ?? 0);
    if (maxConnections <= 0) {
      place.at("typed_config", "max_active_downstream_connections").fail("must be more than 0");
    }
    return [];
  });
  for (const field of ["buffer_factory_config"] as const) {
    if (manager[field]) scope.at(field).fail("is not supported");
  }
  if ((manager.loadshed_points ?? []).length > 0)
    scope.at("loadshed_points").fail("is not supported");
  const known = new Set(monitors.map(({ name }) => name));
  const kinds = new Set<string>();
  const actions = (manager.actions ?? []).flatMap((action, i): readonly OverloadAction[] => {
    const place = scope.at("actions", i);
    if (kinds.has(action.name ?? "")) place.at("name").fail(`is there twice: ${action.name}`);
    kinds.add(action.name ?? "");
    const kind = actionKind(action.name ?? "");
    if (kind === undefined) place.at("name").fail(`${action.name} is not supported`);
    const triggers = (action.triggers ?? []).flatMap((trigger, j) =>
      compileTrigger(trigger, known, place.at("triggers", j)),
    );
    if (triggers.length === 0) place.at("triggers").fail("must not be empty");
    return kind === undefined ? [] : [{ name: action.name ?? "", kind, triggers }];
  });
  return {
    refreshIntervalMs: durationToMs(manager.refresh_interval) ?? DEFAULT_REFRESH_MS,
    monitors,
    actions,
    timers: (manager.actions ?? []).flatMap((action, i) =>
      compileTimers(action, scope.at("actions", i, "typed_config")),
    ),
    maxConnections,
  };
}

function compileMonitor(
  monitor: envoy_config_overload_v3_ResourceMonitor,
  name: string,
  scope: Scope,
): readonly ResourceMonitor[] {
  const place = scope.at("typed_config");
  const heap = unpackAny(HEAP, monitor.typed_config);
  if (heap !== undefined) {
    const maxBytes = Number(heap.max_heap_size_bytes ?? 0);
    if (maxBytes <= 0) place.at("max_heap_size_bytes").fail("must be more than 0");
    return [{ kind: "memory", name, maxBytes }];
  }
  const injected = unpackAny(INJECTED, monitor.typed_config);
  if (injected !== undefined) {
    if (!injected.filename) place.at("filename").fail("must not be empty");
    return [{ kind: "file", name, path: injected.filename ?? "" }];
  }
  scope.fail(`resource monitor ${name} (${monitor.typed_config?.type_url ?? ""}) is not supported`);
  return [];
}

function actionKind(name: string): OverloadActionKind | undefined {
  return Object.entries(OVERLOAD_ACTIONS).find(([action]) => action === name)?.[1];
}

function compileTrigger(
  trigger: envoy_config_overload_v3_Trigger,
  known: ReadonlySet<string>,
  scope: Scope,
): readonly OverloadTrigger[] {
  const monitor = trigger.name ?? "";
  if (!known.has(monitor)) scope.at("name").fail(`no resource monitor ${JSON.stringify(monitor)}`);
  if (trigger.threshold) {
    const at = trigger.threshold.value ?? 0;
    if (at < 0 || at > 1) scope.at("threshold", "value").fail(`must be 0..1 (found ${at})`);
    return [{ kind: "threshold", monitor, at }];
  }
  if (trigger.scaled) {
    const { scaling_threshold: from = 0, saturation_threshold: to = 0 } = trigger.scaled;
    const place = scope.at("scaled");
    if ((from ?? 0) >= (to ?? 0) || (from ?? 0) < 0 || (to ?? 0) > 1) {
      place.fail("scaling_threshold must be less than saturation_threshold, both 0..1");
    }
    return [{ kind: "scaled", monitor, from: from ?? 0, to: to ?? 0 }];
  }
  scope.fail("must set one of threshold, scaled");
  return [];
}

function compileTimers(
  action: envoy_config_overload_v3_OverloadAction,
  scope: Scope,
): readonly ScaledTimer[] {
  if (action.name !== "envoy.overload_actions.reduce_timeouts") {
    if (action.typed_config) scope.fail(`${action.name} takes no configuration`);
    return [];
  }
  const config = unpackAny(SCALE_TIMERS, action.typed_config);
  if (config === undefined || (config.timer_scale_factors ?? []).length === 0) {
    scope.at("timer_scale_factors").fail("must not be empty");
  }
  return (config?.timer_scale_factors ?? []).flatMap((factor, i): readonly ScaledTimer[] => {
    const place = scope.at("timer_scale_factors", i);
    const timer = TIMERS.at(factor.timer ?? 0);
    if (timer === undefined) {
      place
        .at("timer")
        .fail("must be HTTP_DOWNSTREAM_CONNECTION_IDLE or HTTP_DOWNSTREAM_STREAM_IDLE");
      return [];
    }
    if (factor.min_timeout) {
      return [{ timer, minimum: { ms: durationToMs(factor.min_timeout) ?? 0 } }];
    }
    if (!factor.min_scale) place.fail("must set one of min_timeout, min_scale");
    return [{ timer, minimum: { part: Math.min(1, (factor.min_scale?.value ?? 0) / 100) } }];
  });
}
