import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { createTelemetryStore } from "../../../src/analysis/index.ts";
import {
  apiVersionOf,
  type KubeObject,
  RESOURCES,
  type ResourceType,
} from "../../../src/api/index.ts";
import { type ApiServer, startApiServer } from "../../../src/embedded/api-server/index.ts";
import { createClientStore } from "../../../src/kube/index.ts";
import type { KubeStore } from "../../../src/kube/store.ts";
import {
  type Authenticator,
  type SecretSource,
  startControlPlane,
  type WorkloadIdentity,
} from "../../../src/mesh/index.ts";
import { createLogger, systemClock } from "../../../src/runtime/index.ts";
import { encode, SECRET_TYPE } from "../../../src/xds/index.ts";
import { createAuthority } from "../../support/certificates.ts";

/** The embedded API server with a control plane on it, both real. */
export interface MeshCluster {
  readonly api: ApiServer["local"];
  readonly xdsPort: number;
  apply(type: ResourceType, object: KubeObject): Promise<void>;
  /** A token of a service account, as its projected volume would hold it. */
  token(serviceAccount: string, podName: string): Promise<string>;
}

/** Starts API server, CRDs and control plane; stopped with the test. */
export async function startMeshCluster(t: TestContext): Promise<MeshCluster> {
  const dir = mkdtempSync(join(tmpdir(), "serin-mesh-"));
  const logger = createLogger("test", "silent");
  const server = await startApiServer({
    dataDir: join(dir, "data"),
    port: 0,
    logger,
    clock: systemClock,
  });
  const api = server.local;
  for (const type of ISTIO_TYPES) await api.create(RESOURCES.customResourceDefinition, crd(type));
  await api.create(RESOURCES.namespace, {
    apiVersion: "v1",
    kind: "Namespace",
    metadata: { name: "istio-system" },
  });
  const store = createClientStore({ kubeconfigPath: server.kubeconfigPath });
  const controlPlane = await startControlPlane({
    store,
    telemetry: createTelemetryStore({ retentionMs: 60_000, clock: systemClock }),
    logger,
    clock: systemClock,
    host: "127.0.0.1",
    ports: { xds: 0, debug: 0, webhook: 0 },
    rootNamespace: "istio-system",
    trustDomain: "cluster.local",
    interceptionMode: "NONE",
    accessLog: false,
    identity: { authenticator: tokenReviews(store), secrets: await createSecrets() },
  });
  t.after(async () => {
    await controlPlane.stop();
    await server.stop();
    rmSync(dir, { recursive: true, force: true });
  });
  return {
    api,
    xdsPort: controlPlane.ports.xds,
    async apply(type, object) {
      const { namespace, name } = object.metadata;
      const old = await api.get(type, { namespace, name });
      if (old === undefined) await api.create(type, object);
      else {
        const spec = { spec: object["spec"] };
        await api.patch(type, { namespace, name }, spec, { kind: "merge" });
      }
    },
    async token(serviceAccount, podName) {
      const pod = await api.get(RESOURCES.pod, { namespace: "default", name: podName });
      return api.createToken(
        { namespace: "default", serviceAccount },
        {
          audiences: ["istio-ca"],
          expirationSeconds: 3600,
          podName,
          ...(pod?.metadata.uid === undefined ? {} : { podUid: pod.metadata.uid }),
        },
      );
    },
  };
}

const ISTIO_TYPES = [
  RESOURCES.virtualService,
  RESOURCES.destinationRule,
  RESOURCES.gateway,
  RESOURCES.peerAuthentication,
];

/** A definition that takes any spec: what is wrong in one is the control plane's to find. */
function crd(type: ResourceType): KubeObject {
  const { group, version, kind, plural } = type;
  const anything = { type: "object", "x-kubernetes-preserve-unknown-fields": true };
  return {
    apiVersion: apiVersionOf(RESOURCES.customResourceDefinition),
    kind: "CustomResourceDefinition",
    metadata: { name: `${plural}.${group}` },
    spec: {
      group,
      scope: "Namespaced",
      names: { kind, plural, singular: kind.toLowerCase() },
      versions: [
        {
          name: version,
          served: true,
          storage: true,
          subresources: { status: {} },
          schema: {
            openAPIV3Schema: { type: "object", properties: { spec: anything, status: anything } },
          },
        },
      ],
    },
  };
}

/** Believes the service account that the API server's TokenReview names. */
function tokenReviews(store: KubeStore): Authenticator {
  return {
    async authenticate(token) {
      const review = await store.create(RESOURCES.tokenReview, {
        apiVersion: apiVersionOf(RESOURCES.tokenReview),
        kind: "TokenReview",
        metadata: { name: "" },
        spec: { token, audiences: ["istio-ca"] },
      });
      const status = review["status"] as {
        readonly authenticated?: boolean;
        readonly user?: { readonly username?: string };
      };
      const username = status.user?.username ?? "";
      const match = /^system:serviceaccount:([^:]+):([^:]+)$/.exec(username);
      const [, namespace, serviceAccount] = match ?? [];
      if (status.authenticated !== true || !namespace || !serviceAccount) return undefined;
      return { trustDomain: "cluster.local", namespace, serviceAccount };
    },
  };
}

/** Certificates of an openssl CA for whom the control plane has authenticated. */
async function createSecrets(): Promise<SecretSource> {
  const authority = await createAuthority();
  const issued = new Map<string, ReturnType<typeof authority.issue>>();
  const leafOf = ({ trustDomain, namespace, serviceAccount }: WorkloadIdentity) => {
    const id = `spiffe://${trustDomain}/ns/${namespace}/sa/${serviceAccount}`;
    const leaf = issued.get(id) ?? authority.issue(id);
    issued.set(id, leaf);
    return leaf;
  };
  const secret = "envoy.extensions.transport_sockets.tls.v3.Secret";
  return {
    async secretFor(identity, name) {
      if (name === "ROOTCA") {
        const validation_context = { trusted_ca: { inline_string: authority.certificatePem } };
        const body = encode(secret, { name, validation_context });
        return { typeUrl: SECRET_TYPE, name, version: "1", body };
      }
      if (name !== "default") return undefined;
      const leaf = await leafOf(identity);
      const tls_certificate = {
        certificate_chain: { inline_string: leaf.certificatePem },
        private_key: { inline_string: leaf.keyPem },
      };
      const body = encode(secret, { name, tls_certificate });
      return { typeUrl: SECRET_TYPE, name, version: "1", body };
    },
    onChange: () => () => undefined,
  };
}
