import type { Clock } from "../../runtime/index.ts";

/** What a deadline belongs to. */
export interface DeadlineOwner {
  onDeadline(deadline: Deadline): void;
}

/** One entry of the wheel; made once and armed as often as needed. */
export class Deadline {
  readonly owner: DeadlineOwner;
  /** `performance.now()` milliseconds; meaningful while armed. */
  atMs = 0;
  slot = -1;
  previous: Deadline | undefined;
  next: Deadline | undefined;

  constructor(owner: DeadlineOwner) {
    this.owner = owner;
  }
}

const SLOT_COUNT = 1024;
const TICK_MS = 5;

/**
 * Deadlines for thousands of requests on one timer: arming and disarming are O(1) list operations
 * in the slot of their tick, and the timer only runs while something is armed. Deadlines fire up to
 * one tick (5 ms) late, never early. Source: Varghese and Lauck, "Hashed and Hierarchical Timing
 * Wheels", scheme 6.
 */
export class TimerWheel {
  readonly #clock: Clock;
  readonly #slots: (Deadline | undefined)[] = new Array(SLOT_COUNT).fill(undefined);
  #armed = 0;
  #tick = 0;
  #cancel: (() => void) | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Fires `delayMs` from now; an armed deadline is moved. */
  arm(deadline: Deadline, delayMs: number): void {
    this.disarm(deadline);
    const nowMs = performance.now();
    deadline.atMs = nowMs + delayMs;
    if (this.#armed === 0) this.#tick = Math.floor(nowMs / TICK_MS);
    const slot = (Math.floor(deadline.atMs / TICK_MS) + 1) % SLOT_COUNT;
    deadline.slot = slot;
    deadline.previous = undefined;
    deadline.next = this.#slots[slot];
    if (deadline.next !== undefined) deadline.next.previous = deadline;
    this.#slots[slot] = deadline;
    this.#armed += 1;
    this.#cancel ??= this.#clock.schedule(TICK_MS, this.#advance);
  }

  disarm(deadline: Deadline): void {
    if (deadline.slot < 0) return;
    if (deadline.previous === undefined) this.#slots[deadline.slot] = deadline.next;
    else deadline.previous.next = deadline.next;
    if (deadline.next !== undefined) deadline.next.previous = deadline.previous;
    deadline.slot = -1;
    deadline.previous = undefined;
    deadline.next = undefined;
    this.#armed -= 1;
  }

  stop(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }

  readonly #advance = (): void => {
    this.#cancel = undefined;
    const nowMs = performance.now();
    const target = Math.floor(nowMs / TICK_MS);
    // After a long pause one turn of the wheel sees every slot.
    const from = Math.max(this.#tick + 1, target - SLOT_COUNT + 1);
    for (let tick = from; tick <= target; tick += 1) this.#fire(tick % SLOT_COUNT, nowMs);
    this.#tick = target;
    if (this.#armed > 0) this.#cancel ??= this.#clock.schedule(TICK_MS, this.#advance);
  };

  #fire(slot: number, nowMs: number): void {
    let deadline = this.#slots[slot];
    while (deadline !== undefined) {
      if (deadline.atMs > nowMs) {
        // A later turn's.
        deadline = deadline.next;
        continue;
      }
      this.disarm(deadline);
      deadline.owner.onDeadline(deadline);
      // The owner may have armed or disarmed others of this slot: start over.
      deadline = this.#slots[slot];
    }
  }
}
