import { z } from "zod";
import { duration, percentNumber, text } from "../fields.ts";
import { rules } from "../rules.ts";

const GRPC_STATUS: ReadonlySet<string> = new Set([
  ...["OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND"],
  ...["ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION"],
  ...["ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"],
  "UNAUTHENTICATED",
]);
/** The least share that proxies can tell from none. */
const LEAST_PERCENT = 0.0001;

const share = z.strictObject({
  value: percentNumber
    .refine((value) => value === 0 || value >= LEAST_PERCENT, {
      error: `must be 0, or from ${LEAST_PERCENT} to 100`,
    })
    .optional(),
});

/** Istio's HTTPFaultInjection. */
export const httpFault = z
  .strictObject({
    delay: z
      .strictObject({
        percent: percentNumber.optional(),
        percentage: share.optional(),
        fixedDelay: duration.optional(),
        exponentialDelay: text.optional(),
      })
      .superRefine(
        rules(function* ({ exponentialDelay }) {
          if (exponentialDelay !== undefined) yield [["exponentialDelay"], "is not supported"];
        }),
      )
      .optional(),
    abort: z
      .strictObject({
        percent: percentNumber.optional(),
        percentage: share.optional(),
        httpStatus: z.int().min(200).max(599).optional(),
        grpcStatus: text
          .refine((status) => GRPC_STATUS.has(status), "must be a gRPC status such as NOT_FOUND")
          .optional(),
        http2Error: text.optional(),
      })
      .superRefine(
        rules(function* ({ httpStatus, grpcStatus, http2Error }) {
          if (http2Error !== undefined) yield [["http2Error"], "is not supported"];
          if (httpStatus !== undefined && grpcStatus !== undefined) {
            yield [["grpcStatus"], "cannot be set together with httpStatus"];
          }
        }),
      )
      .optional(),
  })
  .refine(({ delay, abort }) => (delay ?? abort) !== undefined, "must have a delay or an abort");
