/** A condition as it shall be; when it last changed is the writer's to say. */
export interface WantedCondition {
  readonly type: string;
  readonly status: "True" | "False";
  readonly reason: string;
  readonly message: string;
  readonly observedGeneration: number;
}

/** What is wrong, by Gateway API's reasons. */
export interface Fault {
  readonly reason: string;
  readonly message: string;
}

/** `True` with its reason, or `False` with what is wrong. */
export function condition(
  type: string,
  observedGeneration: number,
  good: Fault,
  fault: Fault | undefined,
): WantedCondition {
  const { reason, message } = fault ?? good;
  return {
    type,
    status: fault === undefined ? "True" : "False",
    reason,
    message,
    observedGeneration,
  };
}

/** The first fault, with the messages of the others that have its reason. */
export function firstFault(faults: readonly Fault[]): Fault | undefined {
  const [first] = faults;
  if (first === undefined) return undefined;
  const same = faults.filter(({ reason }) => reason === first.reason);
  return {
    reason: first.reason,
    message: [...new Set(same.map(({ message }) => message))].join("; "),
  };
}
