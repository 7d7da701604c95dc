/** The client side of the Kubernetes API. */
export { createClientStore } from "./client-store.ts";
export type { ConnectionOptions } from "./connection.ts";
