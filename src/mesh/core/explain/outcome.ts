/** One thing that may become of a request. */
export interface Outcome {
  /** How many of a hundred requests end like this. */
  readonly sharePercent: number;
  /** Of the answer: a number is a proxy's own, `application` is up to the workload; undefined: none comes. */
  readonly status: number | "application" | undefined;
  /** Whose pod answers or refuses; undefined where the request does not get so far. */
  readonly workload: string | undefined;
  /** What a proxy's own answer says. */
  readonly body: string | undefined;
  readonly reason: string;
}

/** Equal outcomes as one, the most frequent first, shares rounded to hundredths. */
export function merged(outcomes: readonly Outcome[]): readonly Outcome[] {
  const groups = Map.groupBy(outcomes, ({ status, workload, body, reason }) =>
    JSON.stringify([status, workload, body, reason]),
  );
  return [...groups.values()]
    .flatMap((group) => {
      const [first] = group;
      const sum = group.reduce((total, { sharePercent }) => total + sharePercent, 0);
      const sharePercent = Math.round(sum * 100) / 100;
      return first === undefined || sharePercent === 0 ? [] : [{ ...first, sharePercent }];
    })
    .sort((a, b) => b.sharePercent - a.sharePercent);
}
