import type { Socket } from "node:net";
import { containsInOrder, type ProbeResult, type TcpProbeConfig } from "../../core/health-check.ts";
import { connectProbe, type Probe, type ProbeTarget } from "./probe.ts";

/** A host that sends more than this without what is waited for is not well. */
const MAX_RECEIVED_BYTES = 1_048_576;
const PASSED: ProbeResult = { kind: "passed", isDegraded: false };

/** Connects, sends bytes and waits for bytes. Source: Envoy docs, "L3/L4" health checking. */
export class TcpProbe implements Probe {
  readonly #target: ProbeTarget;
  readonly #probe: TcpProbeConfig;
  #socket: Socket | undefined;
  #received: Buffer = Buffer.alloc(0);
  #onResult: ((result: ProbeResult) => void) | undefined;

  constructor(target: ProbeTarget, probe: TcpProbeConfig) {
    this.#target = target;
    this.#probe = probe;
  }

  check(onResult: (result: ProbeResult) => void): void {
    this.#onResult = onResult;
    this.#received = Buffer.alloc(0);
    if (this.#socket !== undefined) {
      this.#send(this.#socket);
      return;
    }
    try {
      const socket = connectProbe(this.#target, () => this.#connected(socket));
      this.#socket = socket;
      socket.on("data", (bytes: Buffer) => this.#receive(bytes));
      socket.on("error", () => socket.destroy());
      socket.on("end", () => socket.destroy());
      socket.on("close", () => this.#closed(socket));
    } catch {
      // TLS material that OpenSSL refuses: nobody can be reached with it.
      queueMicrotask(() => this.#finish({ kind: "unreachable" }));
    }
  }

  abandon(): void {
    this.#onResult = undefined;
    this.close();
  }

  close(): void {
    this.#onResult = undefined;
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.destroy();
  }

  #connected(socket: Socket): void {
    if (this.#probe.receive.length > 0) {
      this.#send(socket);
      return;
    }
    if (this.#probe.send !== undefined) socket.write(this.#probe.send);
    // Nothing is waited for: having connected is the answer, and the connection has served.
    const onResult = this.#onResult;
    this.#socket = undefined;
    socket.end();
    this.#onResult = undefined;
    onResult?.(PASSED);
  }

  #send(socket: Socket): void {
    if (this.#probe.send !== undefined) socket.write(this.#probe.send);
  }

  #receive(bytes: Buffer): void {
    if (this.#onResult === undefined) return;
    this.#received = Buffer.concat([this.#received, bytes]);
    if (containsInOrder(this.#received, this.#probe.receive)) {
      this.#finish(PASSED);
      if (!this.#target.config.reusesConnection) this.close();
    } else if (this.#received.length > MAX_RECEIVED_BYTES) {
      this.#finish({ kind: "failed", isRetriable: false });
      this.close();
    }
  }

  #closed(socket: Socket): void {
    if (this.#socket !== socket) return;
    this.#socket = undefined;
    this.#finish({ kind: "unreachable" });
  }

  #finish(result: ProbeResult): void {
    const onResult = this.#onResult;
    this.#onResult = undefined;
    onResult?.(result);
  }
}
