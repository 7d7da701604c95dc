/** What a port speaks; "auto" = not declared, found out from the first bytes. */
export type PortProtocol = "http" | "http2" | "tcp" | "tls" | "udp" | "auto";

const BY_NAME: Readonly<Record<string, PortProtocol>> = {
  http: "http",
  ws: "http",
  http2: "http2",
  h2c: "http2",
  grpc: "http2",
  "grpc-web": "http",
  https: "tls",
  wss: "tls",
  tls: "tls",
  tcp: "tcp",
  udp: "udp",
  mongo: "tcp",
  redis: "tcp",
  mysql: "tcp",
};
/** Servers that speak first: never guessed (Istio's list). */
const SERVER_FIRST_PORTS = new Set([25, 53, 3306, 27017]);

/**
 * Istio's protocol selection: UDP stays UDP, `appProtocol` beats the port's name, whose part before
 * the first `-` counts. Source: istio pkg/config/kube/conversion.go.
 */
export function protocolOf(port: {
  readonly number: number;
  readonly transport: string;
  readonly appProtocol: string | undefined;
  readonly name: string | undefined;
}): PortProtocol {
  if (port.transport === "UDP") return "udp";
  const declared = named(port.appProtocol?.replace(/^kubernetes\.io\//, "")) ?? named(port.name);
  if (declared !== undefined) return declared;
  return SERVER_FIRST_PORTS.has(port.number) ? "tcp" : "auto";
}

function named(name: string | undefined): PortProtocol | undefined {
  if (name === undefined) return undefined;
  const lower = name.toLowerCase();
  if (lower === "grpc-web" || lower.startsWith("grpc-web-")) return "http";
  const prefix = lower.split("-", 1)[0] ?? "";
  return Object.hasOwn(BY_NAME, prefix) ? BY_NAME[prefix] : undefined;
}

/** Whether requests of the port can be routed one by one; an undeclared port is taken for HTTP. */
export function isHttpProtocol(protocol: PortProtocol): boolean {
  return protocol === "http" || protocol === "http2" || protocol === "auto";
}
