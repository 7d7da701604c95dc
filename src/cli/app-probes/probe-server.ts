import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { z } from "zod";
import { messageOf, SerinError } from "../../base/index.ts";
import { type Application, checkApplication, probersSchema } from "./application-check.ts";

export interface ProbeServer {
  readonly port: number;
  stop(): Promise<void>;
}

/**
 * Answers the kubelet's probes in an application's stead, by asking it from within the pod. `probers`:
 * the JSON of injection (ISTIO_KUBE_APP_PROBERS). Throws SERIN_INVALID_BOOTSTRAP, SERIN_PORT_IN_USE.
 */
export async function startProbeServer(
  probers: string,
  application: Application,
  listen: { readonly address: string; readonly port: number },
): Promise<ProbeServer> {
  const known = parseProbers(probers);
  const server = createServer((request, response) => {
    const path = request.url ?? "/";
    const prober = Object.hasOwn(known, path) ? known[path] : undefined;
    if (prober === undefined) {
      response.writeHead(404).end();
      return;
    }
    void checkApplication(prober, application).then((status) => response.writeHead(status).end());
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error) => {
      const where = `${listen.address}:${listen.port}`;
      const message = `cannot listen on ${where} for probes: ${error.message}`;
      reject(new SerinError("SERIN_PORT_IN_USE", message, { cause: error }));
    });
    server.listen(listen.port, listen.address, resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function parseProbers(text: string): z.infer<typeof probersSchema> {
  const refused = (reason: string, cause: unknown): SerinError =>
    new SerinError("SERIN_INVALID_BOOTSTRAP", `ISTIO_KUBE_APP_PROBERS: ${reason}`, { cause });
  try {
    const result = probersSchema.safeParse(JSON.parse(text));
    if (result.success) return result.data;
    throw refused(z.prettifyError(result.error).replaceAll("\n", " "), result.error);
  } catch (error) {
    throw error instanceof SerinError ? error : refused(messageOf(error), error);
  }
}
