import type { Readable, Writable } from "node:stream";
import type { KubeObject, LabelSelector, ResourceType } from "../api/index.ts";

export interface LocalKey {
  readonly namespace?: string | undefined;
  readonly name: string;
}

export interface LocalWatchEvent {
  readonly type: "ADDED" | "MODIFIED" | "DELETED";
  readonly object: KubeObject;
}

/**
 * The API server as the built-in controllers and the node agent use it: in the same process, but
 * through the very path an HTTP request takes (defaulting, admission webhooks, validation,
 * resourceVersion checks, finalizers, watch history). Errors are SerinError with
 * SERIN_NOT_FOUND, SERIN_CONFLICT or SERIN_INVALID_RESOURCE.
 */
export interface LocalApi {
  get(type: ResourceType, key: LocalKey): Promise<KubeObject | undefined>;
  list(
    type: ResourceType,
    options?: { readonly namespace?: string; readonly labelSelector?: LabelSelector },
  ): Promise<readonly KubeObject[]>;
  create(type: ResourceType, object: KubeObject): Promise<KubeObject>;
  update(
    type: ResourceType,
    object: KubeObject,
    options?: { readonly subresource?: "status" },
  ): Promise<KubeObject>;
  patch(
    type: ResourceType,
    key: LocalKey,
    patch: unknown,
    options: { readonly kind: "json" | "merge" | "strategic"; readonly subresource?: "status" },
  ): Promise<KubeObject>;
  delete(
    type: ResourceType,
    key: LocalKey,
    options?: {
      readonly propagation?: "Background" | "Foreground" | "Orphan";
      /** Pods: 0 removes the object at once (the node agent's last word). */
      readonly gracePeriodSeconds?: number;
      /** Only this incarnation. */
      readonly uid?: string;
    },
  ): Promise<void>;
  /**
   * Calls `handler` with ADDED for every object there is, then with every change, in order of
   * resourceVersion. The returned function ends it.
   */
  watch(type: ResourceType, handler: (event: LocalWatchEvent) => void): () => void;
  /** A service account token as a projected volume holds it (JWT signed by the API server). */
  createToken(
    key: { readonly namespace: string; readonly serviceAccount: string },
    options: {
      readonly audiences: readonly string[];
      readonly expirationSeconds: number;
      readonly podName?: string;
      readonly podUid?: string;
    },
  ): Promise<string>;
}

/** What the API server asks of the node agent: logs of a container, as bytes. */
export interface PodLogs {
  /**
   * The log so far and, with `follow`, what comes, until the container ends or the signal aborts.
   * Throws SERIN_NOT_FOUND when there is no such container.
   */
  read(
    pod: { readonly namespace: string; readonly name: string; readonly container: string },
    options: {
      readonly follow: boolean;
      readonly previous: boolean;
      readonly tailLines?: number;
      readonly sinceSeconds?: number;
      readonly limitBytes?: number;
      readonly timestamps: boolean;
      readonly signal: AbortSignal;
    },
  ): AsyncIterable<Uint8Array>;
}

/** What the API server asks of the node agent: a command in a running container. */
export interface PodExec {
  /**
   * Starts it with the container's environment, directory, user and network. Throws SERIN_NOT_FOUND when
   * the container does not run, SERIN_EXEC when the command cannot be started.
   */
  start(
    pod: { readonly namespace: string; readonly name: string; readonly container: string },
    request: ExecRequest,
  ): Promise<ExecProcess>;
}

export interface ExecRequest {
  /** The program and its arguments; no shell. */
  readonly command: readonly string[];
  /** Whether anything is to be read from `stdin`; else the command finds its end at once. */
  readonly hasStdin: boolean;
  /** A terminal of its own, where standard output and error are one. */
  readonly isTty: boolean;
}

export interface ExecProcess {
  readonly stdin: Writable;
  /** Of a terminal: all that it shows. */
  readonly stdout: Readable;
  /** undefined with a terminal. */
  readonly stderr: Readable | undefined;
  /** Resolves with the exit code, 128 + n after signal n; the process's group is gone then. */
  readonly ended: Promise<number>;
  /** Nothing more will be written to `stdin`. */
  endInput(): void;
  /** The terminal's new size; nothing without one. */
  resize(columns: number, rows: number): void;
  /** Ends the command and all that it started. */
  kill(): void;
}
