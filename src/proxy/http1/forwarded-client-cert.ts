import type { HttpConnectionManagerConfig } from "../config/runtime-config.ts";
import type { HeaderBlock } from "../core/http1/header-block.ts";
import type { DownstreamConnection } from "../streams.ts";

const NAME = "x-forwarded-client-cert";

/** Treats `x-forwarded-client-cert` as Envoy's forward_client_cert_details asks. */
export function forwardedClientCert(
  connection: DownstreamConnection,
  manager: HttpConnectionManagerConfig,
  headers: HeaderBlock,
): void {
  const mode = manager.forwardClientCert;
  if (mode === "always_forward_only") return;
  const own = connection.clientCertElement;
  // Without a verified client nobody vouches for what the header says.
  if (mode === "sanitize" || own === undefined) {
    headers.remove(NAME);
    return;
  }
  if (mode === "forward_only") return;
  if (mode === "sanitize_set") {
    headers.set(NAME, own);
    return;
  }
  const before = headers.get(NAME);
  headers.set(NAME, before === undefined ? own : `${before},${own}`);
}
