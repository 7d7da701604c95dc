import { checkClaims, claimText, type JwtProvider, parseToken } from "../../src/proxy/core/jwt.ts";
import { mutate } from "./mutate.ts";
import { type FuzzTarget, promise } from "./target.ts";

const encoded = (json: string): string => Buffer.from(json).toString("base64url");
const HEADERS = ['{"alg":"RS256","kid":"k"}', '{"alg":"none"}', '{"alg":["RS256"]}', "[]", "null"];
const PAYLOADS = [
  '{"iss":"i","aud":["a","https://b/"],"exp":99,"nbf":1,"sub":"s","n":{"m":[1]}}',
  '{"iss":"i","aud":{},"exp":"1","nbf":-1e308}',
  '{"__proto__":{"iss":"i"},"constructor":1,"aud":[null]}',
  "1",
];
const JSONS = [...HEADERS, ...PAYLOADS].map((text) => Buffer.from(text));
const TOKENS = HEADERS.flatMap((header) =>
  PAYLOADS.map((payload) => Buffer.from(`${encoded(header)}.${encoded(payload)}.c2ln`)),
);
const AUDIENCES: ReadonlySet<string> = new Set(["b"]);
const PROVIDER: JwtProvider = {
  name: "p",
  issuer: "i",
  audiences: AUDIENCES,
  matchesSubject: (subject) => subject === "s",
  requireExpiration: true,
  clockSkewSeconds: 60,
  locations: [],
  jwks: { kind: "inline", jwks: { keys: [] } },
  forward: true,
  payloadHeader: "",
  padPayloadHeader: false,
  payloadInMetadata: "",
  headerInMetadata: "",
  spaceDelimitedClaims: [],
  claimToHeaders: [],
};

function decode(text: string): string | undefined {
  return /^[A-Za-z0-9_-]*$/.test(text) ? Buffer.from(text, "base64url").toString() : undefined;
}

/** Tokens: hurt as a whole, or with hurt JSON inside. Nothing throws, and a failure has words. */
export const JWT: FuzzTarget = {
  name: "jwt",
  run(random) {
    const inner = (): string =>
      encoded(mutate(random.pick(JSONS), JSONS, random).toString("latin1"));
    const token = random.chance(0.5)
      ? mutate(random.pick(TOKENS), TOKENS, random).toString("latin1")
      : `${random.chance(0.5) ? encoded('{"alg":"ES256"}') : inner()}.${inner()}.c2ln`;
    const parsed = parseToken(token, decode);
    if (typeof parsed === "string") {
      promise(parsed.startsWith("Jwt "), "refused without a word", token);
      return;
    }
    promise(parsed.algorithm !== "none", "no algorithm is no signature", token);
    const failure = checkClaims(parsed, PROVIDER, AUDIENCES, 50);
    promise(
      failure === undefined || failure.startsWith("Jwt ") || failure.startsWith("Aud"),
      "no word",
      token,
    );
    for (const claim of ["iss", "n.m", "aud", "exp", "missing"]) {
      const text = claimText(parsed.payload, claim, encoded);
      promise(text === undefined || typeof text === "string", `claim ${claim} is no text`, token);
    }
  },
};
