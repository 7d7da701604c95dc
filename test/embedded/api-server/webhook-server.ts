import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { TestContext } from "node:test";
import { loadServingCertificate } from "../../../src/embedded/api-server/certificates.ts";
import type { Json } from "./test-server.ts";
import { temporaryDir } from "./test-server.ts";

export interface WebhookServer {
  readonly url: string;
  /** base64 PEM, as clientConfig.caBundle wants it. */
  readonly caBundle: string;
  /** The `request` of every AdmissionReview received. */
  readonly requests: Json[];
}

/** An HTTPS webhook; `respond` makes the response (without uid), undefined = never answers. */
export async function startWebhookServer(
  t: TestContext,
  respond: (request: Json) => Json | undefined,
): Promise<WebhookServer> {
  const certificate = loadServingCertificate(temporaryDir(t), "127.0.0.1", Date.now());
  const requests: Json[] = [];
  const server = createServer(
    { key: certificate.keyPem, cert: certificate.certificatePem },
    async (request, response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
      const review = JSON.parse(Buffer.concat(chunks).toString()) as { readonly request: Json };
      requests.push(review.request);
      const answer = respond(review.request);
      if (answer === undefined) return;
      response.setHeader("content-type", "application/json");
      response.end(
        JSON.stringify({
          apiVersion: "admission.k8s.io/v1",
          kind: "AdmissionReview",
          response: { uid: review.request["uid"], ...answer },
        }),
      );
    },
  );
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return {
    url: `https://127.0.0.1:${(server.address() as AddressInfo).port}/admit`,
    caBundle: Buffer.from(certificate.caPem).toString("base64"),
    requests,
  };
}
