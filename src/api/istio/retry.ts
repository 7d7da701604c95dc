import { z } from "zod";
import { count, duration, text } from "../fields.ts";
import { rules } from "../rules.ts";

/** Conditions of Envoy's x-envoy-retry-on and x-envoy-retry-grpc-on. */
const RETRY_ON: ReadonlySet<string> = new Set([
  ...["5xx", "gateway-error", "reset", "reset-before-request", "connect-failure"],
  ...["retriable-4xx", "refused-stream", "retriable-status-codes", "retriable-headers"],
  ...["envoy-ratelimited", "http3-post-connect-failure"],
  ...["cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable"],
]);
/** Status codes that have a name (IANA's register, and 418), by their first digit. */
const STATUS = /^(?:10[0-3]|20[0-8]|226|30[0-578]|40\d|41[0-8]|42[1-689]|431|451|50[0-8]|51[01])$/;

/** Istio's HTTPRetry. */
export const httpRetry = z
  .strictObject({
    attempts: count.optional(),
    perTryTimeout: duration.optional(),
    retryOn: text.optional(),
    retryRemoteLocalities: z.boolean().optional(),
    retryIgnorePreviousHosts: z.boolean().optional(),
    backoff: duration.optional(),
  })
  .superRefine(
    rules(function* ({ attempts = 0, perTryTimeout, retryOn = "", retryRemoteLocalities }) {
      const isConfigured = (perTryTimeout ?? retryRemoteLocalities) !== undefined || retryOn !== "";
      if (attempts === 0 && isConfigured) {
        yield [["attempts"], "must be more than 0: without attempts nothing is retried"];
      }
      for (const condition of retryOn === "" ? [] : retryOn.split(",").map((each) => each.trim())) {
        if (!RETRY_ON.has(condition) && !STATUS.test(condition)) {
          yield [["retryOn"], `${JSON.stringify(condition)} is no condition of Envoy's`];
        }
      }
    }),
  );
