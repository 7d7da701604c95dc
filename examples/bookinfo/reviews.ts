import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { createCaller } from "./call.ts";
import { forwardedHeaders } from "./forwarded-headers.ts";
import { idIn, json, notFound, runService } from "./service.ts";
import { numberFrom, serviceUrl } from "./settings.ts";

const env = process.env;

/** One program, three versions: v1 shows no stars, v2 black ones, v3 red ones. */
const VERSION = env["SERVICE_VERSION"] ?? "v1";
const STAR_COLORS: Readonly<Record<string, string>> = { v2: "black", v3: "red" };
const starColor = STAR_COLORS[VERSION];

/** A build that is bad on purpose: some requests fail, some are slow. */
const share = { fallback: 0, min: 0, max: 1 };
const faultErrorRate = numberFrom(env, "FAULT_ERROR_RATE", share);
const faultDelayRate = numberFrom(env, "FAULT_DELAY_RATE", share);
const faultDelayMs = numberFrom(env, "FAULT_DELAY_MS", { fallback: 1000, min: 0, max: 600_000 });

const RATINGS_TIMEOUT_MS = 2500;
const ratingsUrl = serviceUrl(env, "ratings");
const caller = createCaller(env);

const TEXTS: Readonly<Record<string, string>> = {
  Reviewer1: "Two pairs of twins, one town, and not a dull page: a play to read aloud.",
  Reviewer2: "Great fun, although it takes a moment to remember who is who.",
};

/** Stars by reviewer, or what to say when the ratings service does not answer. */
async function ratingsOf(
  id: string,
  headers: Record<string, string>,
): Promise<Readonly<Record<string, number>> | undefined> {
  try {
    const answer = await caller.get(`${ratingsUrl}/ratings/${id}`, headers, RATINGS_TIMEOUT_MS);
    if (answer.status !== 200) return undefined;
    return (JSON.parse(answer.body) as { ratings: Record<string, number> }).ratings;
  } catch (error) {
    // Reviews without stars are better than no reviews.
    console.error(`ratings are unavailable: ${error instanceof Error ? error.message : error}`);
    return undefined;
  }
}

function ratingIn(ratings: Readonly<Record<string, number>> | undefined, reviewer: string) {
  if (starColor === undefined) return {};
  const stars = ratings?.[reviewer];
  if (stars === undefined) {
    return { rating: { error: "Ratings service is currently unavailable" } };
  }
  return { rating: { stars, color: starColor } };
}

// GET /reviews/ID
runService(`reviews-${VERSION}`, env, async (request, url) => {
  const id = idIn(url, "reviews");
  if (id === undefined) return notFound;
  if (Math.random() < faultDelayRate) await sleep(faultDelayMs);
  const identity = {
    id,
    podname: env["HOSTNAME"] ?? hostname(),
    clustername: env["CLUSTER_NAME"] ?? "null",
    version: VERSION,
  };
  if (Math.random() < faultErrorRate) {
    return json(500, { ...identity, error: "this build is faulty on purpose" });
  }
  const ratings =
    starColor === undefined ? undefined : await ratingsOf(id, forwardedHeaders(request.headers));
  const reviews = Object.entries(TEXTS).map(([reviewer, text]) => ({
    reviewer,
    text,
    ...ratingIn(ratings, reviewer),
  }));
  return json(200, { ...identity, reviews });
});
