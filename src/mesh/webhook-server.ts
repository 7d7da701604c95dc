import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { messageOf, SerinError } from "../base/index.ts";
import type { KubeStore } from "../kube/store.ts";
import type { Clock, Logger } from "../runtime/index.ts";
import {
  type AdmissionAnswer,
  type AdmissionRequest,
  admitPod,
  admitResource,
  parseAdmissionReview,
} from "./admission.ts";
import type { CertificateAuthority } from "./certificate-authority.ts";
import type { InjectionSettings } from "./core/injection-patch.ts";
import { createServerCertificate } from "./server-certificate.ts";
import { registerWebhooks, type ServicePlace } from "./webhook-registration.ts";

export interface WebhookOptions {
  readonly store: KubeStore;
  readonly authority: CertificateAuthority;
  readonly host: string;
  /** 0 = any free port. */
  readonly port: number;
  readonly injection: InjectionSettings;
  /** The Service that leads here; without one the API server is given `host` and port. */
  readonly service?: ServicePlace | undefined;
  readonly logger: Logger;
  readonly clock: Clock;
}

export interface Webhooks {
  readonly port: number;
  /** Tells the API server that the webhooks are here. */
  register(): Promise<void>;
  stop(): Promise<void>;
}

const MAX_BODY_BYTES = 4 * 1024 * 1024;
const TIMEOUT_MS = 10_000;

/**
 * Serves injection and validation over HTTPS with a certificate of the mesh's root; `register` tells
 * the API server about them. Throws SERIN_PORT_IN_USE, SERIN_PERMISSION.
 */
export async function startWebhooks(options: WebhookOptions): Promise<Webhooks> {
  const { store, authority, host, logger, clock } = options;
  const handlers: Readonly<Record<string, Handler>> = {
    "/inject": (request) => admitPod(request, store, options.injection),
    "/validate": async (request) => admitResource(request),
  };
  const { service } = options;
  const byService = service === undefined ? [] : [`${service.name}.${service.namespace}.svc`];
  const names = ["istiod.istio-system.svc", ...byService, "localhost", "127.0.0.1", host];
  const certificate = await createServerCertificate({ authority, names, clock, logger });
  const server = createServer(
    { key: certificate.current.privateKeyPem, cert: certificate.current.certificateChainPem },
    (request, response) => {
      answer(handlers, request, response).catch((error: unknown) => {
        logger.error({ path: request.url, reason: messageOf(error) }, "webhook failed");
        send(response, 500, { message: messageOf(error) });
      });
    },
  );
  server.requestTimeout = TIMEOUT_MS;
  server.headersTimeout = TIMEOUT_MS;
  await listen(server, host, options.port);
  const { port } = server.address() as AddressInfo;
  certificate.onRenewed(({ privateKeyPem, certificateChainPem }) =>
    server.setSecureContext({ key: privateKeyPem, cert: certificateChainPem }),
  );
  const stop = async (): Promise<void> => {
    certificate.stop();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  const register = async (): Promise<void> => {
    const caBundle = Buffer.from(authority.rootCertificatePem).toString("base64");
    const authorityPart = host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
    await registerWebhooks(store, { place: service ?? `https://${authorityPart}`, caBundle });
  };
  return { port, register, stop };
}

type Handler = (request: AdmissionRequest) => Promise<AdmissionAnswer>;

async function answer(
  handlers: Readonly<Record<string, Handler>>,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const path = (request.url ?? "").split("?")[0] ?? "";
  const handler = Object.hasOwn(handlers, path) ? handlers[path] : undefined;
  if (handler === undefined) return send(response, 404, { message: `no webhook at ${path}` });
  if (request.method !== "POST") return send(response, 405, { message: "only POST" });
  const body = await readBody(request);
  if (body === undefined) {
    return send(response, 413, { message: `the body exceeds ${MAX_BODY_BYTES} bytes` });
  }
  let admission: AdmissionRequest;
  try {
    admission = parseAdmissionReview(body);
  } catch (error) {
    return send(response, 400, { message: messageOf(error) });
  }
  send(response, 200, {
    apiVersion: "admission.k8s.io/v1",
    kind: "AdmissionReview",
    response: { uid: admission.uid, ...(await handler(admission)) },
  });
}

/** Undefined when it is too long. */
async function readBody(request: IncomingMessage): Promise<string | undefined> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request) {
    length += (chunk as Buffer).length;
    if (length > MAX_BODY_BYTES) return undefined;
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function send(response: ServerResponse, code: number, body: unknown): void {
  if (response.headersSent) return;
  const bytes = Buffer.from(JSON.stringify(body));
  response.writeHead(code, { "content-type": "application/json", "content-length": bytes.length });
  response.end(bytes);
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      const code = error.code === "EADDRINUSE" ? "SERIN_PORT_IN_USE" : "SERIN_PERMISSION";
      const message = `webhooks cannot listen on ${host}:${port}: ${error.message}`;
      reject(new SerinError(code, message, { cause: error }));
    });
    server.listen(port, host, resolve);
  });
}
