/** Why a message cannot be accepted: what the peer broke, and the status that says so. */
export interface ProtocolError {
  /** 400, 426 or 431 towards a client; a proxy answers 502 when the fault is the upstream's. */
  readonly status: 400 | 426 | 431;
  /** Envoy's response_code_details word: `http1.bare_lf`. */
  readonly details: string;
}

const error = (details: string): ProtocolError => ({ status: 400, details: `http1.${details}` });

/** Every way in which HTTP/1 bytes can be wrong; sections are of RFC 9112 unless said otherwise. */
export const PROTOCOL_ERRORS = {
  /** §2.2: a lone LF is a smuggling vector although recipients MAY accept it. */
  bareLineFeed: error("bare_lf"),
  /** §2.2: a bare CR is invalid anywhere in a head. */
  bareCarriageReturn: error("bare_cr"),
  /** §3: request line. */
  requestLine: error("invalid_request_line"),
  /** RFC 9110 §9.1: method = token. */
  method: error("invalid_method"),
  /** §3.2: origin-, absolute-, authority- or asterisk-form. */
  target: error("invalid_url"),
  /** §2.3 */
  version: error("invalid_version"),
  /** §4 */
  statusLine: error("invalid_status_line"),
  /** §5.1: no whitespace in or after a field name. */
  headerName: error("invalid_header_name"),
  /** RFC 9110 §5.5: NUL, CR, LF and other controls are not field content. */
  headerValue: error("invalid_header_value"),
  /** §5.2: a proxy refuses obs-fold. */
  lineFolding: error("obs_fold"),
  /** §3.2: exactly one valid Host. */
  host: error("invalid_host"),
  /** §6.3: two framings, or lengths that differ. */
  ambiguousFraming: error("content_length_and_chunked_not_allowed"),
  contentLength: error("invalid_content_length"),
  /** §6.1: the only transfer coding understood is a final `chunked`. */
  transferEncoding: error("invalid_transfer_encoding"),
  /** §7.1 */
  chunkSize: error("invalid_chunk_size"),
  chunkExtension: error("invalid_chunk_extension"),
  trailers: error("invalid_trailers"),
  /** §9.6: bytes after the end of a message that no other may follow. */
  unexpectedData: error("unexpected_data"),
  /** The connection ended inside a message. */
  truncated: error("truncated_message"),
  headTooLarge: { status: 431, details: "request_headers_too_large" },
  tooManyHeaders: { status: 431, details: "too_many_headers" },
  /** Envoy without accept_http_10. */
  http10: { status: 426, details: "low_version" },
} as const satisfies Record<string, ProtocolError>;
