import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { KubeObject } from "../../../api/index.ts";
import { messageOf } from "../../../base/index.ts";
import type { Clock, Logger } from "../../../runtime/index.ts";
import { type DnsZone, resolvConf } from "../../core/netns/dns-records.ts";
import { probeRules, serviceRules, virtualPorts } from "../../core/netns/service-rules.ts";
import {
  gatewayAddress,
  LOOPBACK_RANGE,
  NETNS_RANGE,
  type PodNetwork,
} from "../../core/node-agent/network.ts";
import type { Pod } from "../../core/node-agent/pod.ts";
import { type AddressPool, inRange, isBlockFree, openAddressPool } from "../address-pool.ts";
import type { ClusterNetwork } from "../cluster-network.ts";
import { attempt, ip, run, runInside } from "./commands.ts";
import { type DnsServer, startDnsServer } from "./dns-server.ts";
import { type HostRelay, openHostRelay } from "./host-relay.ts";

/** Where `ip netns` keeps its namespaces, and the files it gives them. */
const NAMESPACES = "/run/netns";
const FILES = "/etc/netns";
/** Istio's address for probes of pods whose traffic is captured (ambient). */
const PROBE_SOURCE = "169.254.7.127";
const PREFIX_BITS = 20;
/** Changes of Services that come together are one change of every pod's rules. */
const SYNC_DELAY_MS = 50;
/** The lowest port that needs no rights. */
const FIRST_FREE_PORT = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
const BRIDGE_FILTER = "/proc/sys/net/bridge/bridge-nf-call-iptables";

export interface NetnsOptions {
  readonly dataDir: string;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * Pods in network namespaces of their own, joined by a bridge. What a cluster that was killed left on
 * this machine is removed first. Throws SERIN_PORT_IN_USE, SERIN_PERMISSION.
 */
export async function openNetnsNetwork(options: NetnsOptions): Promise<ClusterNetwork> {
  const path = join(options.dataDir, "address-block.json");
  const pool = await openAddressPool(path, NETNS_RANGE);
  const network = new NetnsNetwork(options, pool);
  try {
    await network.open();
  } catch (error) {
    await network.close();
    throw error;
  }
  return network;
}

class NetnsNetwork implements ClusterNetwork {
  readonly mode = "netns";
  readonly pool: AddressPool;
  readonly loadBalancers: ClusterNetwork["loadBalancers"];
  readonly nodeIp: string;
  readonly #options: NetnsOptions;
  readonly #bridge: string;
  readonly #relays = new Map<number, Promise<HostRelay>>();
  /** Namespaces that are there, and the rules that each has. */
  readonly #attached = new Map<string, string>();
  /** Of pods that are over; the network is closed after them. */
  readonly #removals = new Set<Promise<void>>();
  #zone: DnsZone = { services: [], slices: [] };
  #dns: DnsServer | undefined;
  #cancelSync: (() => void) | undefined;
  #syncing: Promise<void> = Promise.resolve();

  constructor(options: NetnsOptions, pool: AddressPool) {
    this.#options = options;
    this.pool = pool;
    this.nodeIp = gatewayAddress(pool.block);
    this.#bridge = bridgeName(pool.block);
    // On the machine's loopback, so that nothing has to be set up for them.
    this.loadBalancers = {
      take(wanted) {
        const isOurs = wanted?.startsWith(`${LOOPBACK_RANGE.first}.`) === true;
        const own = isOurs ? inRange(wanted, NETNS_RANGE, LOOPBACK_RANGE) : undefined;
        const taken = pool.take(own);
        return taken && inRange(taken, LOOPBACK_RANGE, NETNS_RANGE);
      },
      release: (address) => pool.release(inRange(address, NETNS_RANGE, LOOPBACK_RANGE)),
    };
  }

  async open(): Promise<void> {
    const removed = await removeLeftovers(this.pool.block);
    if (removed > 0) this.#options.logger.info({ removed }, "removed networks of killed clusters");
    await ip([
      `link add ${this.#bridge} address ${bridgeMac(this.pool.block)} type bridge`,
      `addr add ${this.nodeIp}/${PREFIX_BITS} dev ${this.#bridge}`,
      `addr add ${PROBE_SOURCE}/32 dev ${this.#bridge}`,
      `link set ${this.#bridge} up`,
    ]);
    if (filtersBridges()) await run("iptables", ["-w", "-I", ...letPass(this.#bridge)]);
    this.#dns = await startDnsServer(this.nodeIp, () => this.#zone);
  }

  describe(pod: Pod, podIp: string): PodNetwork {
    const applicationAddress = undefined;
    if (pod.spec.hostNetwork) return { podIp: this.nodeIp, applicationAddress };
    const namespace = namespaceName(this.pool.block, podIp);
    return { podIp, applicationAddress, namespace, probeSource: PROBE_SOURCE };
  }

  async attach(pod: Pod, { namespace, podIp }: PodNetwork): Promise<void> {
    if (namespace === undefined) return;
    const cable = cableName(namespace);
    writeFiles(namespace, pod, podIp, this.nodeIp);
    try {
      await ip([
        `netns add ${namespace}`,
        `link add ${cable} type veth peer name eth0 netns ${namespace}`,
        `link set ${cable} master ${this.#bridge} up`,
      ]);
      await ip(
        [
          "link set lo up",
          `addr add ${podIp}/${PREFIX_BITS} dev eth0`,
          "link set eth0 up",
          `route add default via ${this.nodeIp}`,
        ],
        namespace,
      );
      // As container runtimes have it: any user listens on any port of the pod.
      await runInside(namespace, "sh", ["-c", `echo 0 > ${FIRST_FREE_PORT}`]).catch(() => "");
      await restore(namespace, probeRules(PROBE_SOURCE));
      const after = this.#rules(false);
      await restore(namespace, this.#rules(true));
      this.#attached.set(namespace, after);
      // Services may have changed in the meantime.
      await this.#sync(namespace);
    } catch (error) {
      await removeNamespace(namespace);
      throw error;
    }
  }

  async settle({ namespace }: PodNetwork): Promise<void> {
    if (namespace === undefined || !this.#attached.has(namespace)) return;
    this.#attached.set(namespace, "");
    await this.#sync(namespace);
  }

  async detach({ namespace }: PodNetwork): Promise<void> {
    if (namespace === undefined) return;
    this.#attached.delete(namespace);
    const removal = removeNamespace(namespace).finally(() => this.#removals.delete(removal));
    this.#removals.add(removal);
    await removal;
  }

  async reach(port: number): Promise<string> {
    const known = this.#relays.get(port);
    const relay = known ?? openHostRelay(this.nodeIp, port);
    this.#relays.set(port, relay);
    await relay;
    return `${this.nodeIp}:${port}`;
  }

  onServices(services: readonly KubeObject[], slices: readonly KubeObject[]): void {
    this.#zone = { services, slices };
    if (this.#cancelSync !== undefined) return;
    this.#cancelSync = this.#options.clock.schedule(SYNC_DELAY_MS, () => {
      this.#cancelSync = undefined;
      this.#syncing = this.#syncing.then(() => this.#syncAll());
    });
  }

  async close(): Promise<void> {
    this.#cancelSync?.();
    await this.#syncing;
    for (const namespace of this.#attached.keys()) await removeNamespace(namespace);
    this.#attached.clear();
    await Promise.all(this.#removals);
    for (const relay of this.#relays.values()) {
      await relay.then(
        (open) => open.close(),
        () => undefined,
      );
    }
    await this.#dns?.close();
    await removeBridge(this.#bridge);
    await this.pool.close();
  }

  #rules(isFirst: boolean): string {
    const { services, slices } = this.#zone;
    return serviceRules(virtualPorts(services, slices), isFirst);
  }

  async #syncAll(): Promise<void> {
    for (const namespace of this.#attached.keys()) {
      await this.#sync(namespace).catch((error: unknown) => {
        // A pod that is just going has no rules any more.
        if (!this.#attached.has(namespace)) return;
        this.#options.logger.warn({ namespace, error: messageOf(error) }, "rules not written");
      });
    }
  }

  async #sync(namespace: string): Promise<void> {
    const rules = this.#rules(false);
    if (this.#attached.get(namespace) === rules) return;
    await restore(namespace, rules).catch(async (error: unknown) => {
      if (!this.#attached.has(namespace)) throw error;
      // Whoever took our hook away (the pod's own iptables) must not keep the rules as they were.
      await restore(namespace, this.#rules(true));
    });
    if (this.#attached.has(namespace)) this.#attached.set(namespace, rules);
  }
}

async function restore(namespace: string, rules: string): Promise<void> {
  await runInside(namespace, "iptables-restore", ["-w", "--noflush"], rules);
}

function bridgeName(block: number): string {
  return `serin${block}`;
}

/**
 * Without an address of its own a bridge has the lowest of its cables', and with each that goes another
 * one: until pods ask anew, which takes a while, the machine is not to be reached.
 */
function bridgeMac(block: number): string {
  return `02:5e:51:00:00:${block.toString(16).padStart(2, "0")}`;
}

/** `serin-3-17`: the cluster's block, and the address's last 12 bits. */
function namespaceName(block: number, podIp: string): string {
  const [, , third = 0, fourth = 0] = podIp.split(".").map(Number);
  return `serin-${block}-${((third & 15) << 8) + fourth}`;
}

/** The machine's end of a pod's cable; names of interfaces have 15 characters at most. */
function cableName(namespace: string): string {
  return namespace.replace(/^serin-/, "sv");
}

/** `ip netns exec` puts these in the place of the machine's. */
function writeFiles(namespace: string, pod: Pod, podIp: string, nameServer: string): void {
  const dir = join(FILES, namespace);
  mkdirSync(dir, { recursive: true });
  if (pod.spec.dnsPolicy !== "Default") {
    writeFileSync(join(dir, "resolv.conf"), resolvConf(pod.namespace, nameServer));
  }
  const hosts = `127.0.0.1 localhost\n::1 localhost ip6-localhost\n${podIp} ${pod.name}\n`;
  writeFileSync(join(dir, "hosts"), hosts);
}

async function removeNamespace(namespace: string): Promise<void> {
  await attempt("ip", ["link", "del", cableName(namespace)]);
  await attempt("ip", ["netns", "del", namespace]);
  rmSync(join(FILES, namespace), { recursive: true, force: true });
  removeIfEmpty(FILES);
}

function removeIfEmpty(dir: string): void {
  if (existsSync(dir) && readdirSync(dir).length === 0) rmSync(dir, { recursive: true });
}

async function removeBridge(bridge: string): Promise<void> {
  if (filtersBridges()) await attempt("iptables", ["-w", "-D", ...letPass(bridge)]);
  await attempt("ip", ["link", "del", bridge]);
}

/** Whether what passes over bridges is looked at as if it were routed, and may be dropped. */
function filtersBridges(): boolean {
  try {
    return readFileSync(BRIDGE_FILTER, "utf8").trim() === "1";
  } catch {
    return false;
  }
}

function letPass(bridge: string): readonly string[] {
  return ["FORWARD", "-i", bridge, "-o", bridge, "-j", "ACCEPT"];
}

/**
 * Removes namespaces, cables and bridges of our own block, and of blocks that no cluster has any
 * more; what still runs in them is ended. Answers how many there were.
 */
async function removeLeftovers(ownBlock: number): Promise<number> {
  const namespaces = [
    ...(existsSync(NAMESPACES) ? readdirSync(NAMESPACES) : []),
    ...(existsSync(FILES) ? readdirSync(FILES) : []),
  ];
  const links = readdirSync("/sys/class/net");
  const blockOf = (name: string, pattern: RegExp): number | undefined => {
    const digits = pattern.exec(name)?.[1];
    return digits === undefined ? undefined : Number(digits);
  };
  const isStale = new Map<number, boolean>([[ownBlock, true]]);
  let removed = 0;
  for (const [names, pattern, remove] of [
    [new Set(namespaces), /^serin-(\d+)-\d+$/, endNamespace],
    [new Set(links), /^sv(\d+)-\d+$/, (name: string) => attempt("ip", ["link", "del", name])],
    [new Set(links), /^serin(\d+)$/, removeBridge],
  ] as const) {
    for (const name of names) {
      const block = blockOf(name, pattern);
      if (block === undefined) continue;
      if (!isStale.has(block)) isStale.set(block, await isBlockFree(block));
      if (isStale.get(block) !== true) continue;
      await remove(name);
      removed += 1;
    }
  }
  return removed;
}

async function endNamespace(namespace: string): Promise<void> {
  const pids = await run("ip", ["netns", "pids", namespace]).catch(() => "");
  for (const pid of pids.split("\n").filter((each) => /^\d+$/.test(each))) {
    try {
      process.kill(Number(pid), "SIGKILL");
    } catch {
      // gone in the meantime
    }
  }
  await removeNamespace(namespace);
}
