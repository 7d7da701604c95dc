import type { HeaderBlock } from "../core/http1/header-block.ts";

/**
 * Changes the host of a request; x-envoy-original-host tells the former one, which also goes to the
 * end of x-forwarded-host, where asked.
 */
export function setHost(headers: HeaderBlock, host: string, appendsForwarded: boolean): void {
  const former = headers.first("host") ?? "";
  if (former !== "") {
    if (appendsForwarded) appendForwardedHost(headers, former);
    headers.set("x-envoy-original-host", former);
  }
  headers.set("host", host);
}

/** As Envoy, once: a host that is the last already is not told again. */
function appendForwardedHost(headers: HeaderBlock, host: string): void {
  const before = headers.get("x-forwarded-host");
  if (before === undefined) headers.set("x-forwarded-host", host);
  else if (before.split(",").at(-1)?.trim() !== host) {
    headers.set("x-forwarded-host", `${before},${host}`);
  }
}
