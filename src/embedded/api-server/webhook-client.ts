import { Agent, request } from "node:https";
import { rootCertificates } from "node:tls";
import { messageOf } from "../../base/index.ts";
import { isObject, type JsonObject, objectAt, stringAt } from "../core/api/json.ts";

/** A webhook that could not be called, or whose answer is none. */
export class WebhookCallError extends Error {
  override readonly name = "WebhookCallError";
}

const MAX_ANSWER_BYTES = 16 * 1024 * 1024;

/** One agent per CA bundle, so that connections are reused. */
const agents = new Map<string, Agent>();

/**
 * Posts an AdmissionReview and returns its response. Throws WebhookCallError for anything but a
 * well-formed answer to this very review within the time.
 */
export async function callWebhook(
  clientConfig: JsonObject,
  call: { readonly review: JsonObject; readonly uid: string; readonly timeoutMs: number },
): Promise<JsonObject> {
  const url = urlOf(clientConfig, call.timeoutMs);
  const answer = await post(url, stringAt(clientConfig, "caBundle"), call);
  let review: unknown;
  try {
    review = JSON.parse(answer);
  } catch {
    throw new WebhookCallError(`Post ${JSON.stringify(url.href)}: the answer is not JSON`);
  }
  const response = objectAt(review, "response");
  if (!isObject(review) || review["kind"] !== "AdmissionReview" || response === undefined) {
    throw new WebhookCallError(
      `Post ${JSON.stringify(url.href)}: expected an AdmissionReview with a response`,
    );
  }
  if (stringAt(response, "uid") !== call.uid) {
    throw new WebhookCallError(
      `Post ${JSON.stringify(url.href)}: expected response.uid=${JSON.stringify(call.uid)}, got ${JSON.stringify(stringAt(response, "uid") ?? "")}`,
    );
  }
  return response;
}

function urlOf(clientConfig: JsonObject, timeoutMs: number): URL {
  const text = stringAt(clientConfig, "url");
  if (text === undefined) {
    const service = objectAt(clientConfig, "service");
    throw new WebhookCallError(
      `clientConfig.service ${stringAt(service, "namespace")}/${stringAt(service, "name")} is not supported by the embedded API server: use clientConfig.url`,
    );
  }
  try {
    const url = new URL(text);
    url.searchParams.set("timeout", `${timeoutMs / 1000}s`);
    return url;
  } catch (error) {
    throw new WebhookCallError(`clientConfig.url ${JSON.stringify(text)} is not a URL`, {
      cause: error,
    });
  }
}

function agentFor(caBundle: string | undefined): Agent {
  const key = caBundle ?? "";
  let agent = agents.get(key);
  if (agent === undefined) {
    const ca =
      caBundle === undefined
        ? [...rootCertificates]
        : Buffer.from(caBundle, "base64").toString("utf8");
    agent = new Agent({ keepAlive: true, maxSockets: 32, ca });
    agents.set(key, agent);
  }
  return agent;
}

function post(
  url: URL,
  caBundle: string | undefined,
  call: { readonly review: JsonObject; readonly timeoutMs: number },
): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const fail = (why: string): void =>
    reject(new WebhookCallError(`Post ${JSON.stringify(url.href)}: ${why}`));
  const signal = AbortSignal.timeout(call.timeoutMs);
  const body = Buffer.from(JSON.stringify(call.review));
  const outgoing = request(url, {
    method: "POST",
    agent: agentFor(caBundle),
    signal,
    headers: {
      "content-type": "application/json",
      "content-length": body.length,
      accept: "application/json",
    },
  });
  outgoing.on("error", (error) =>
    fail(signal.aborted ? "context deadline exceeded" : messageOf(error)),
  );
  outgoing.on("response", (incoming) => {
    const chunks: Buffer[] = [];
    let sizeBytes = 0;
    incoming.on("data", (chunk: Buffer) => {
      sizeBytes += chunk.length;
      if (sizeBytes > MAX_ANSWER_BYTES) incoming.destroy(new Error("the answer is too large"));
      else chunks.push(chunk);
    });
    incoming.on("error", (error) =>
      fail(signal.aborted ? "context deadline exceeded" : messageOf(error)),
    );
    incoming.on("end", () => {
      const text = Buffer.concat(chunks).toString("utf8");
      if (incoming.statusCode === 200) resolve(text);
      else fail(`the webhook answered ${incoming.statusCode}: ${text.slice(0, 200)}`);
    });
  });
  outgoing.end(body);
  return promise;
}
