import {
  GATEWAY_API_GROUP,
  type GatewayListener,
  type KubernetesGatewaySpec,
  type LabelSelector,
  matchesSelector,
  type StringMap,
} from "../../../api/index.ts";
import type { GatewayServer } from "../model-gateways.ts";
import { type Fault, firstFault } from "./conditions.ts";
import type { ApiObject, GatewayApiInput, RouteType } from "./objects.ts";
import { isReferenceGranted } from "./reference-grants.ts";

/** A Gateway of one of our classes. */
export interface OwnGateway {
  readonly object: ApiObject<KubernetesGatewaySpec>;
  readonly spec: KubernetesGatewaySpec;
  readonly controllerName: string;
  readonly listeners: readonly OwnListener[];
}

/** A listener, and what is wrong with it. */
export interface OwnListener {
  readonly name: string;
  readonly listener: GatewayListener;
  /** Kinds of routes that it takes. */
  readonly kinds: readonly RouteType[];
  /** Why it is not there at all. */
  readonly refused: Fault | undefined;
  readonly conflict: Fault | undefined;
  /** Why it is not served yet. */
  readonly unresolved: Fault | undefined;
  /** As the proxies know it; undefined when it cannot be served. */
  readonly server: GatewayServer | undefined;
}

type Certificates = Pick<GatewayApiInput, "grants" | "missingCertificate">;

/** The kinds of routes that go with a protocol. */
function kindsOf({ protocol, tls }: GatewayListener): readonly RouteType[] {
  switch (protocol) {
    case "HTTP":
    case "HTTPS":
      return ["HTTPRoute", "GRPCRoute"];
    case "TLS":
      return tls?.mode === "Passthrough" ? ["TLSRoute"] : ["TCPRoute"];
    case "TCP":
      return ["TCPRoute"];
    default:
      return [];
  }
}

/** What listeners of one port must have in common: the way in which connections are told apart. */
const FAMILIES: Readonly<Record<string, string>> = {
  HTTP: "plain HTTP",
  HTTPS: "server names",
  TLS: "server names",
  TCP: "the port alone",
};

/** The listeners of a Gateway as they will be served. */
export function ownListeners(
  object: ApiObject<KubernetesGatewaySpec>,
  { listeners }: KubernetesGatewaySpec,
  input: Certificates,
): readonly OwnListener[] {
  return listeners.map((listener): OwnListener => {
    const possible = kindsOf(listener);
    const asked = listener.allowedRoutes?.kinds ?? [];
    const isAsked = (kind: string): boolean =>
      asked.length === 0 ||
      asked.some(
        (each) => each.kind === kind && (each.group ?? GATEWAY_API_GROUP) === GATEWAY_API_GROUP,
      );
    const kinds = possible.filter(isAsked);
    const isKnown = (each: {
      readonly group?: string | undefined;
      readonly kind: string;
    }): boolean =>
      (each.group ?? GATEWAY_API_GROUP) === GATEWAY_API_GROUP &&
      possible.some((kind) => kind === each.kind);
    const refused: Fault | undefined =
      possible.length > 0
        ? undefined
        : {
            reason: "UnsupportedProtocol",
            message: `protocol ${listener.protocol} is not supported; HTTP, HTTPS, TLS and TCP are`,
          };
    const conflict = conflictOf(listener, listeners);
    const wrongKinds = asked
      .filter((each) => !isKnown(each))
      .map(
        ({ kind }): Fault => ({
          reason: "InvalidRouteKinds",
          message: `a listener for ${listener.protocol} takes no ${kind}`,
        }),
      );
    const { fault, credential } = certificateOf(object, listener, input);
    const unresolved = firstFault([...wrongKinds, ...(fault === undefined ? [] : [fault])]);
    // A kind that it cannot take does not keep it from serving the others.
    const isServed =
      (refused ?? conflict ?? fault) === undefined && (kinds.length > 0 || asked.length === 0);
    return {
      name: listener.name,
      listener,
      kinds,
      refused,
      conflict,
      unresolved,
      server: isServed ? serverOf(listener, credential) : undefined,
    };
  });
}

function conflictOf(listener: GatewayListener, all: readonly GatewayListener[]): Fault | undefined {
  const onPort = all.filter(({ port }) => port === listener.port);
  const other = onPort.find(({ protocol }) => FAMILIES[protocol] !== FAMILIES[listener.protocol]);
  if (other !== undefined) {
    return {
      reason: "ProtocolConflict",
      message: `port ${listener.port} has protocol ${other.protocol} too, by listener ${other.name}`,
    };
  }
  const twin = onPort.find(
    (each) => each !== listener && (each.hostname ?? "") === (listener.hostname ?? ""),
  );
  if (twin === undefined) return undefined;
  return {
    reason: "HostnameConflict",
    message: `port ${listener.port} has hostname ${listener.hostname ?? "*"} too, by listener ${twin.name}`,
  };
}

interface Credential {
  readonly name: string;
  readonly namespace: string;
}

function certificateOf(
  { namespace: own }: ApiObject<KubernetesGatewaySpec>,
  { tls }: GatewayListener,
  { grants, missingCertificate }: Certificates,
): { readonly fault?: Fault; readonly credential?: Credential } {
  if (tls === undefined || tls.mode === "Passthrough") return {};
  const mode = terminateMode(tls);
  if (mode === "ISTIO_MUTUAL") return {};
  const [ref] = tls.certificateRefs ?? [];
  const invalid = (message: string) => ({ fault: { reason: "InvalidCertificateRef", message } });
  if (ref === undefined) return invalid("tls.certificateRefs names no Secret");
  const { group = "", kind = "Secret", namespace = own, name } = ref;
  if (group !== "" || kind !== "Secret") return invalid(`certificates are in Secrets, not ${kind}`);
  const isGranted = isReferenceGranted(grants, {
    from: { group: GATEWAY_API_GROUP, kind: "Gateway", namespace: own },
    to: { group, kind, namespace, name },
  });
  if (!isGranted) {
    const message = `no ReferenceGrant of namespace ${namespace} lets Gateways of ${own} name Secret ${name}`;
    return { fault: { reason: "RefNotPermitted", message } };
  }
  const missing = missingCertificate(namespace, name, mode !== "SIMPLE");
  if (missing !== undefined) return invalid(`there is no ${missing}`);
  return { credential: { name, namespace } };
}

/** Istio's option for listeners whose clients must show a certificate. */
const TLS_MODE_OPTION = "gateway.istio.io/tls-terminate-mode";
const TLS_MODES = ["SIMPLE", "MUTUAL", "OPTIONAL_MUTUAL", "ISTIO_MUTUAL"] as const;

function terminateMode(tls: NonNullable<GatewayListener["tls"]>): (typeof TLS_MODES)[number] {
  return TLS_MODES.find((mode) => mode === tls.options?.[TLS_MODE_OPTION]) ?? "SIMPLE";
}

function serverOf(
  { name, port, protocol, hostname, tls }: GatewayListener,
  credential: Credential | undefined,
): GatewayServer {
  return {
    port,
    protocol,
    name,
    hosts: [{ namespace: "*", dnsName: hostname ?? "*" }],
    httpsRedirect: false,
    tls:
      tls === undefined
        ? undefined
        : {
            mode: tls.mode === "Passthrough" ? "PASSTHROUGH" : terminateMode(tls),
            credentialName: credential?.name,
            credentialNamespace: credential?.namespace,
            serverCertificate: "",
            privateKey: "",
            caCertificates: "",
            subjectAltNames: [],
            minProtocolVersion: undefined,
            maxProtocolVersion: undefined,
            cipherSuites: [],
          },
  };
}

/** Whether a listener takes routes of a namespace. */
export function allowsNamespace(
  { allowedRoutes }: GatewayListener,
  gatewayNamespace: string,
  routeNamespace: string,
  labels: StringMap | undefined,
): boolean {
  const { from = "Same" } = allowedRoutes?.namespaces ?? {};
  switch (from) {
    case "All":
      return true;
    case "Same":
      return gatewayNamespace === routeNamespace;
    case "Selector":
      return labels !== undefined && matchesSelector(selectorOf(allowedRoutes), labels);
    case "None":
      return false;
    default:
      return from satisfies never;
  }
}

/** A list of values that is not there is an empty one. */
function selectorOf(allowed: GatewayListener["allowedRoutes"]): LabelSelector | undefined {
  const selector = allowed?.namespaces?.selector;
  if (selector === undefined) return undefined;
  const { matchLabels = {}, matchExpressions = [] } = selector;
  return {
    matchLabels,
    matchExpressions: matchExpressions.map(({ key, operator, values = [] }) => ({
      key,
      operator,
      values,
    })),
  };
}
