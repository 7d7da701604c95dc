import type { IncomingMessage } from "node:http";
import { type Answer, createCaller } from "./call.ts";
import { forwardedHeaders } from "./forwarded-headers.ts";
import { type PageModel, type Product, type Review, renderPage, STYLESHEET } from "./page.ts";
import { json, notFound, type Reply, runService } from "./service.ts";
import { serviceUrl } from "./settings.ts";

const CALL_TIMEOUT_MS = 10_000;
const MAX_FORM_BYTES = 4096;

const caller = createCaller(process.env);
const upstreams = {
  details: serviceUrl(process.env, "details"),
  reviews: serviceUrl(process.env, "reviews"),
  ratings: serviceUrl(process.env, "ratings"),
};
type Upstream = keyof typeof upstreams;

const PRODUCTS: readonly Product[] = [
  {
    id: 0,
    title: "The Comedy of Errors",
    description:
      "One of Shakespeare's earliest plays, and his shortest: two pairs of twins, separated at " +
      "birth, meet in Ephesus, and nobody knows who is who until the last scene.",
  },
];

const ROUTES: readonly {
  readonly method: string;
  readonly path: RegExp;
  readonly handle: (request: IncomingMessage, id: string) => Promise<Reply> | Reply;
}[] = [
  { method: "GET", path: /^\/(?:index\.html)?$/, handle: () => redirect("/productpage", []) },
  { method: "GET", path: /^\/productpage$/, handle: productPage },
  { method: "GET", path: /^\/static\/bookinfo\.css$/, handle: stylesheet },
  { method: "POST", path: /^\/login$/, handle: login },
  {
    method: "POST",
    path: /^\/logout$/,
    handle: () => redirect("/productpage", ["user=", "Max-Age=0"]),
  },
  { method: "GET", path: /^\/api\/v1\/products$/, handle: () => json(200, PRODUCTS) },
  { method: "GET", path: /^\/api\/v1\/products\/(\d{1,9})$/, handle: passOn("details") },
  { method: "GET", path: /^\/api\/v1\/products\/(\d{1,9})\/reviews$/, handle: passOn("reviews") },
  { method: "GET", path: /^\/api\/v1\/products\/(\d{1,9})\/ratings$/, handle: passOn("ratings") },
];

runService("productpage", process.env, async (request, url) => {
  const method = request.method === "HEAD" ? "GET" : request.method;
  for (const route of ROUTES) {
    const match = route.path.exec(url.pathname);
    if (match !== null && route.method === method)
      return await route.handle(request, match[1] ?? "0");
  }
  return notFound;
});

/** Asks a service about a product and hands its answer on, status and all. */
function passOn(service: Upstream) {
  return async (request: IncomingMessage, id: string): Promise<Reply> => {
    const answer = await ask(service, id, request);
    if (answer === undefined) {
      const error = `Sorry, product ${service} are currently unavailable for this book.`;
      return json(503, { error });
    }
    return { status: answer.status, contentType: "application/json", body: answer.body };
  };
}

async function productPage(request: IncomingMessage): Promise<Reply> {
  const product = PRODUCTS[0];
  if (product === undefined) return notFound;
  const [details, reviews] = await Promise.all([
    ask("details", String(product.id), request),
    ask("reviews", String(product.id), request),
  ]);
  const model: PageModel = {
    product,
    user: userOf(request),
    details: parsed<NonNullable<PageModel["details"]>>(details),
    reviews: reviewsIn(reviews),
  };
  return { status: 200, contentType: "text/html; charset=utf-8", body: renderPage(model) };
}

function reviewsIn(answer: Answer | undefined): PageModel["reviews"] {
  const body = parsed<{ reviews: readonly Review[]; podname: string; version: string }>(answer);
  if (body === undefined) return undefined;
  return { list: body.reviews, podname: body.podname, version: body.version };
}

function parsed<T>(answer: Answer | undefined): T | undefined {
  return answer?.status === 200 ? (JSON.parse(answer.body) as T) : undefined;
}

/** Undefined when the service did not answer at all. */
async function ask(
  service: Upstream,
  id: string,
  request: IncomingMessage,
): Promise<Answer | undefined> {
  const headers = forwardedHeaders(request.headers);
  const user = userOf(request);
  if (user !== undefined) {
    headers["user"] ??= user;
    headers["end-user"] ??= user;
  }
  try {
    return await caller.get(`${upstreams[service]}/${service}/${id}`, headers, CALL_TIMEOUT_MS);
  } catch (error) {
    console.error(`${service} are unavailable: ${error instanceof Error ? error.message : error}`);
    return undefined;
  }
}

/** Who is signed in, by the cookie that `/login` sets. */
function userOf(request: IncomingMessage): string | undefined {
  const value = /(?:^|;\s*)user=([A-Za-z0-9._-]{1,64})(?:;|$)/.exec(request.headers.cookie ?? "");
  return value?.[1];
}

async function login(request: IncomingMessage): Promise<Reply> {
  const form = await bodyOf(request);
  const username = form === undefined ? null : new URLSearchParams(form).get("username");
  if (username === null || !/^[A-Za-z0-9._-]{1,64}$/.test(username)) {
    return json(400, { error: "username must be 1 to 64 letters, digits, dots, dashes" });
  }
  return redirect("/productpage", [`user=${username}`, "HttpOnly", "SameSite=Lax"]);
}

/** The form as text, or undefined when it is too large for a user name. */
async function bodyOf(request: IncomingMessage): Promise<string | undefined> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    sizeBytes += chunk.length;
    if (sizeBytes <= MAX_FORM_BYTES) chunks.push(chunk);
  }
  return sizeBytes <= MAX_FORM_BYTES ? Buffer.concat(chunks).toString("utf8") : undefined;
}

function redirect(location: string, cookie: readonly string[]): Reply {
  const headers: Record<string, string> = { location };
  if (cookie.length > 0) headers["set-cookie"] = [...cookie, "Path=/"].join("; ");
  return { status: 303, contentType: "text/plain; charset=utf-8", body: "", headers };
}

function stylesheet(): Reply {
  return { status: 200, contentType: "text/css; charset=utf-8", body: STYLESHEET };
}
