import { TARGET, TOKEN } from "../http1/characters.ts";
import { reasonPhrase } from "../http1/encode.ts";
import {
  AUTHORITY,
  type BodyFraming,
  FORBIDDEN_TRAILERS,
  type HeadLimits,
  type RequestHead,
  type ResponseHead,
} from "../http1/head-parser.ts";
import { HeaderBlock } from "../http1/header-block.ts";
import type { HeaderField } from "./hpack-decoder.ts";

/** What is wrong with a message: a reset of its stream, or an answer that says why. */
export type HeadProblem =
  | { readonly kind: "malformed"; readonly details: string }
  | { readonly kind: "tooLarge"; readonly details: string };

const malformed = (details: string): HeadProblem => ({ kind: "malformed", details });
const TOO_LARGE: HeadProblem = { kind: "tooLarge", details: "request_headers_too_large" };
const TOO_MANY: HeadProblem = { kind: "tooLarge", details: "too_many_headers" };

/** Fields that mean something to one HTTP/1 connection only (RFC 9113 §8.2.2). */
const CONNECTION_FIELDS: ReadonlySet<string> = new Set([
  "connection",
  "proxy-connection",
  "keep-alive",
  "transfer-encoding",
  "upgrade",
]);

const NO_BODY: BodyFraming = { kind: "none" };
const UNKNOWN: BodyFraming = { kind: "chunked" };
/** RFC 9113 §10.5.1: what a field costs beyond its strings. */
const FIELD_OVERHEAD_BYTES = 32;

type Pseudo = ":method" | ":scheme" | ":authority" | ":path" | ":status" | ":protocol";
const PSEUDO: ReadonlySet<string> = new Set<Pseudo>([
  ":method",
  ":scheme",
  ":authority",
  ":path",
  ":status",
  ":protocol",
]);

function isPseudo(name: string): name is Pseudo {
  return PSEUDO.has(name);
}

/** Gathers the fields of one header block and checks them as RFC 9113 §8 demands. */
export class HeadBuilder {
  readonly #limits: HeadLimits;
  #headers = new HeaderBlock();
  #problem: HeadProblem | undefined;
  #method: string | undefined;
  #scheme: string | undefined;
  #authority: string | undefined;
  #path: string | undefined;
  #status: string | undefined;
  #protocol: string | undefined;
  #host: string | undefined;
  #contentLength: string | undefined;
  #cookie: string | undefined;
  #expectsContinue = false;
  #hasRegular = false;
  #hasPseudo = false;
  #bytes = 0;
  #count = 0;

  readonly #allowsProtocol: boolean;

  /** `allowsProtocol`: requests may be extended CONNECTs (RFC 8441). */
  constructor(limits: HeadLimits, allowsProtocol = false) {
    this.#limits = limits;
    this.#allowsProtocol = allowsProtocol;
  }

  /** Takes the next field. After a problem the rest is only counted: the decoder must go on. */
  readonly add = (field: HeaderField): void => {
    if (this.#problem !== undefined) return;
    const { name } = field;
    this.#count += 1;
    this.#bytes += name.length + field.value.length + FIELD_OVERHEAD_BYTES;
    if (this.#bytes > this.#limits.maxHeadBytes) this.#problem = TOO_LARGE;
    else if (this.#count > this.#limits.maxHeaders) this.#problem = TOO_MANY;
    else if (!field.isValid) this.#problem = malformed("http2.invalid.header.field");
    else if (name.charCodeAt(0) === 58) this.#addPseudo(name, field.value);
    else this.#addRegular(field);
  };

  #addPseudo(name: string, value: string): void {
    this.#hasPseudo = true;
    if (this.#hasRegular || !isPseudo(name)) {
      this.#problem = malformed("http2.violation.of.messaging.rule");
      return;
    }
    const isRepeated = this.#setPseudo(name, value) !== undefined;
    if (isRepeated) this.#problem = malformed("http2.violation.of.messaging.rule");
  }

  /** Returns the former value. */
  #setPseudo(name: Pseudo, value: string): string | undefined {
    let before: string | undefined;
    switch (name) {
      case ":method":
        before = this.#method;
        this.#method = value;
        break;
      case ":scheme":
        before = this.#scheme;
        this.#scheme = value;
        break;
      case ":authority":
        before = this.#authority;
        this.#authority = value;
        break;
      case ":path":
        before = this.#path;
        this.#path = value;
        break;
      case ":status":
        before = this.#status;
        this.#status = value;
        break;
      case ":protocol":
        before = this.#protocol;
        this.#protocol = value;
    }
    return before;
  }

  #addRegular(field: HeaderField): void {
    this.#hasRegular = true;
    const { name, value } = field;
    switch (name) {
      case "host":
        if (this.#host !== undefined) this.#problem = malformed("http2.invalid_host");
        this.#host = value;
        return;
      case "content-length":
        if (this.#contentLength !== undefined || !/^\d{1,15}$/.test(value)) {
          this.#problem = malformed("http2.invalid_content_length");
        }
        this.#contentLength = value;
        break;
      case "cookie":
        // §8.2.3: may come in crumbs, and must not leave in them.
        this.#cookie = this.#cookie === undefined ? value : `${this.#cookie}; ${value}`;
        return;
      case "te":
        if (value.toLowerCase() !== "trailers") this.#problem = malformed("http2.invalid_te");
        break;
      case "expect":
        this.#expectsContinue = value.toLowerCase() === "100-continue";
        break;
      default:
        if (CONNECTION_FIELDS.has(name)) {
          this.#problem = malformed("http2.connection_specific_header");
          return;
        }
    }
    this.#headers.addField(field);
  }

  /** The request head (§8.3.1); its authority is in the field `host`, as for HTTP/1. */
  request(endStream: boolean): RequestHead | HeadProblem {
    if (this.#problem !== undefined) return this.#problem;
    const protocol = this.#protocol;
    const isExtended = protocol !== undefined;
    if (this.#status !== undefined || (isExtended && !this.#mayExtend(protocol))) {
      return malformed("http2.violation.of.messaging.rule");
    }
    const method = this.#method;
    if (method === undefined || !isToken(method)) return malformed("http2.invalid_method");
    const authority = this.#authority ?? this.#host;
    if (authority === undefined || !AUTHORITY.test(authority)) {
      return malformed("http2.invalid_host");
    }
    // §8.3.1: two authorities could be routed by one and served by the other.
    if (this.#host !== undefined && this.#host.toLowerCase() !== authority.toLowerCase()) {
      return malformed("http2.invalid_host");
    }
    const target = this.#target(isExtended ? "GET" : method, authority);
    if (target === undefined) return malformed("http2.invalid_path");
    this.#headers.add("host", authority);
    if (this.#cookie !== undefined) this.#headers.add("cookie", this.#cookie);
    const isTunnel = method === "CONNECT";
    return {
      // As Envoy: an extended CONNECT is the upgrade that HTTP/1.1 would ask for (RFC 8441 §5).
      method: isExtended ? "GET" : method,
      target,
      authority,
      scheme: this.#scheme,
      headers: this.#headers,
      // What comes behind the head of a tunnel is no body.
      framing: isTunnel ? NO_BODY : this.#framing(endStream),
      close: false,
      expectsContinue: this.#expectsContinue,
      upgrade: protocol,
    };
  }

  #mayExtend(protocol: string): boolean {
    return this.#allowsProtocol && this.#method === "CONNECT" && isToken(protocol);
  }

  /** Undefined when :scheme or :path is missing or wrong. */
  #target(method: string, authority: string): string | undefined {
    const scheme = this.#scheme;
    const path = this.#path;
    if (method === "CONNECT") {
      return scheme === undefined && path === undefined ? authority : undefined;
    }
    if (scheme !== "http" && scheme !== "https") return undefined;
    if (path === "*") return method === "OPTIONS" ? path : undefined;
    if (path === undefined || path.charCodeAt(0) !== 47) return undefined;
    for (let index = 1; index < path.length; index += 1) {
      if (TARGET[path.charCodeAt(index)] !== 1) return undefined;
    }
    return path;
  }

  #framing(endStream: boolean): BodyFraming {
    if (endStream) return NO_BODY;
    if (this.#contentLength === undefined) return UNKNOWN;
    return { kind: "length", bytes: Number(this.#contentLength) };
  }

  /** A response head (§8.3.2), interim ones too. */
  response(endStream: boolean): ResponseHead | HeadProblem {
    if (this.#problem !== undefined) return this.#problem;
    const status = this.#status;
    const hasRequestFields =
      this.#method !== undefined || this.#path !== undefined || this.#scheme !== undefined;
    if (status === undefined || !/^[1-9]\d\d$/.test(status) || hasRequestFields) {
      return malformed("http2.violation.of.messaging.rule");
    }
    const isInterim = status.charCodeAt(0) === 49;
    // §8.6: there is no 101; and an interim response does not end the stream.
    if (isInterim && (endStream || status === "101")) {
      return malformed("http2.violation.of.messaging.rule");
    }
    return {
      status: Number(status),
      reason: ` ${reasonPhrase(Number(status))}`,
      headers: this.#headers,
      framing: this.#framing(endStream),
      close: false,
      keepAliveSeconds: undefined,
    };
  }

  /** Trailers (§8.1): no pseudo fields; those that nobody may believe this late are dropped. */
  trailers(): HeaderBlock | HeadProblem {
    if (this.#problem !== undefined) return this.#problem;
    if (this.#hasPseudo) return malformed("http2.violation.of.messaging.rule");
    this.#headers.removeWhere((name) => FORBIDDEN_TRAILERS.has(name));
    return this.#headers;
  }

  /** The announced length of the body in bytes, if any. */
  get contentLength(): number | undefined {
    return this.#contentLength === undefined ? undefined : Number(this.#contentLength);
  }
}

/** Whether a builder's answer is a problem. */
export function isProblem(value: object): value is HeadProblem {
  return "details" in value;
}

function isToken(text: string): boolean {
  for (let index = 0; index < text.length; index += 1) {
    if (TOKEN[text.charCodeAt(index)] !== 1) return false;
  }
  return text.length > 0;
}
