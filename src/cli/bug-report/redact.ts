const REDACTED = "[redacted]";
/** Names of fields and of environment variables whose values give access. */
const NAMES = String.raw`[\w.-]*(?:passw(?:or)?d|secret|token|api_?key|private_?key|client-key-data|credentials?)`;

/** `password: x` on a line of its own, in YAML or JSON; nested values are looked into by themselves. */
const FIELD = new RegExp(
  String.raw`^([ \t]*(?:- )?["']?${NAMES}["']?:[ \t]*)(?![\s{[|>]|["']?\[redacted\])([^\n]+?)(,?)$`,
  "gim",
);
/** `"password":"x"` within a line, also escaped inside of a text. */
const INLINE = new RegExp(String.raw`(\\?"${NAMES}\\?":\s*\\?")[^"\\]+`, "gi");
/** A variable of a container, in YAML and in JSON. */
const VARIABLE = new RegExp(
  String.raw`(name: ${NAMES}\n\s*value: |\\?"name\\?":\s*\\?"${NAMES}\\?",\s*\\?"value\\?":\s*\\?")[^\n"\\]+`,
  "gi",
);

/**
 * The text without what gives access: private keys, tokens, authorization headers, passwords in URLs,
 * and fields and environment variables that are called like secrets.
 */
export function redacted(text: string): string {
  return text
    .replaceAll(
      /-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?-----END [A-Z ]*PRIVATE KEY-----/g,
      REDACTED,
    )
    .replaceAll(/\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*/g, REDACTED)
    .replaceAll(/\b(bearer|basic)\s+[\w.~+/=-]{8,}/gi, `$1 ${REDACTED}`)
    .replaceAll(/(\w+:\/\/[^\s/:@"]+):[^\s/@"]+@/g, `$1:${REDACTED}@`)
    .replaceAll(VARIABLE, `$1${REDACTED}`)
    .replaceAll(INLINE, `$1${REDACTED}`)
    .replaceAll(FIELD, `$1"${REDACTED}"$3`);
}
