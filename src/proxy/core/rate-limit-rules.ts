/** What rate limits tell requests apart by. */
export interface RateLimitSubject {
  /** The first value of a header (lower case) or pseudo header. */
  header(name: string): string | undefined;
  /** The client as far as x-forwarded-for is trusted. */
  readonly remoteIp: string;
  /** The cluster that the route chose. */
  readonly cluster: string;
}

/** One key and value of a descriptor. */
export type DescriptorEntry = readonly [key: string, value: string];

/**
 * Adds entries to a descriptor: none where an optional one is absent; undefined when the request has
 * no such descriptor at all.
 */
export type RateLimitAction = (subject: RateLimitSubject) => readonly DescriptorEntry[] | undefined;

/** Envoy's RateLimit of a route or virtual host: the descriptor that requests get. */
export interface RateLimitRule {
  /** Filters look at the rules of their own stage only. */
  readonly stage: number;
  readonly actions: readonly RateLimitAction[];
}

/** One key for a descriptor: its entries with their order. */
export function descriptorKey(entries: readonly DescriptorEntry[]): string {
  return JSON.stringify(entries);
}

/** The keys of a request's descriptors at a stage. */
export function descriptorsOf(
  rules: readonly RateLimitRule[],
  stage: number,
  subject: RateLimitSubject,
): readonly string[] {
  return rules.flatMap((rule) => {
    if (rule.stage !== stage) return [];
    const entries: DescriptorEntry[] = [];
    for (const action of rule.actions) {
      const added = action(subject);
      if (added === undefined) return [];
      entries.push(...added);
    }
    return entries.length === 0 ? [] : [descriptorKey(entries)];
  });
}
