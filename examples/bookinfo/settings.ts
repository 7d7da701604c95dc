/** The environment a service reads, as a pod's container gets it. */
export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * A number from the environment within bounds. Anything else ends the process with code 2 and one
 * sentence that names the variable.
 */
export function numberFrom(
  env: Environment,
  name: string,
  limits: { readonly fallback: number; readonly min: number; readonly max: number },
): number {
  const text = env[name];
  if (text === undefined || text.trim() === "") return limits.fallback;
  const value = Number(text);
  if (!(value >= limits.min && value <= limits.max)) {
    console.error(`${name} must be ${limits.min}..${limits.max} (found ${JSON.stringify(text)})`);
    process.exit(2);
  }
  return value;
}

/**
 * Base URL of another service: `REVIEWS_HOSTNAME` (default `reviews`), `SERVICES_DOMAIN` and
 * `REVIEWS_SERVICE_PORT_HTTP` (default 9080) as in Istio's bookinfo. Kubernetes itself sets the
 * plain `REVIEWS_SERVICE_PORT`, hence the longer name.
 */
export function serviceUrl(env: Environment, service: string): string {
  const prefix = service.toUpperCase();
  const host = env[`${prefix}_HOSTNAME`] ?? service;
  const domain = env["SERVICES_DOMAIN"] ? `.${env["SERVICES_DOMAIN"]}` : "";
  return `http://${host}${domain}:${env[`${prefix}_SERVICE_PORT_HTTP`] ?? "9080"}`;
}
