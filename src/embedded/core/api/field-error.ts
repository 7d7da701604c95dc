/** One wrong field, with Kubernetes' reason (apimachinery/pkg/util/validation/field). */
export interface FieldError {
  readonly reason:
    | "FieldValueRequired"
    | "FieldValueInvalid"
    | "FieldValueNotSupported"
    | "FieldValueForbidden"
    | "FieldValueDuplicate"
    | "FieldValueNotFound"
    | "FieldValueTypeInvalid"
    | "FieldValueTooLong"
    | "FieldValueTooMany";
  readonly field: string;
  /** The value found, where the message shows it. */
  readonly value?: unknown;
  readonly detail: string;
}

/** A field that has to be there. */
export function required(field: string, detail = ""): FieldError {
  return { reason: "FieldValueRequired", field, detail };
}

/** A field with a value that cannot be. */
export function invalidValue(field: string, value: unknown, detail: string): FieldError {
  return { reason: "FieldValueInvalid", field, value, detail };
}

/** A value outside a closed list. */
export function notSupported(
  field: string,
  value: unknown,
  supported: readonly unknown[],
): FieldError {
  const list = supported.map((s) => JSON.stringify(s)).join(", ");
  const detail = `supported values: ${list}`;
  return { reason: "FieldValueNotSupported", field, value, detail };
}

/** A field that may not be set here. */
export function forbiddenField(field: string, detail: string): FieldError {
  return { reason: "FieldValueForbidden", field, detail };
}

/** A value that is there twice. */
export function duplicate(field: string, value: unknown): FieldError {
  return { reason: "FieldValueDuplicate", field, value, detail: "" };
}

/** A reference to nothing. */
export function missingReference(field: string, value: unknown): FieldError {
  return { reason: "FieldValueNotFound", field, value, detail: "" };
}

/** A value longer than `maxBytes`. */
export function tooLong(field: string, maxBytes: number): FieldError {
  const detail = `may not be more than ${maxBytes} bytes`;
  return { reason: "FieldValueTooLong", field, detail };
}

/** A value of the wrong JSON type; `value` is the Go name of the type found, as Kubernetes words it. */
export function typeInvalid(field: string, value: unknown, detail: string): FieldError {
  return { reason: "FieldValueTypeInvalid", field, value, detail };
}

const PREFIX: Record<FieldError["reason"], string> = {
  FieldValueRequired: "Required value",
  FieldValueInvalid: "Invalid value",
  FieldValueNotSupported: "Unsupported value",
  FieldValueForbidden: "Forbidden",
  FieldValueDuplicate: "Duplicate value",
  FieldValueNotFound: "Not found",
  FieldValueTypeInvalid: "Invalid value",
  FieldValueTooLong: "Too long",
  FieldValueTooMany: "Too many",
};

/** `Invalid value: -1: must be greater than or equal to 0`, without the path. */
export function formatFieldError(error: FieldError): string {
  const parts: string[] = [PREFIX[error.reason]];
  if ("value" in error) parts.push(JSON.stringify(error.value) ?? "null");
  if (error.detail !== "") parts.push(error.detail);
  return parts.join(": ");
}
