import {
  type ChannelCredentials,
  Client,
  credentials,
  experimental,
  Metadata,
  type VerifyOptions,
} from "@grpc/grpc-js";
import { SerinError } from "../../base/index.ts";
import type { GrpcTarget } from "../config/bootstrap.ts";
import type { TlsConfig } from "../config/runtime-config.ts";
import type { ClusterSpec } from "../core/compile/cluster.ts";
import { isIpAddress } from "../core/compile/endpoint.ts";
import type { SecretMaterial } from "../core/compile/tls.ts";

const CA_REFRESH_MS = 10_000;

/** A gRPC client to a static cluster of the bootstrap. */
export function createGrpcClient(
  target: GrpcTarget,
  cluster: ClusterSpec,
  secrets: (name: string) => SecretMaterial | undefined,
): Client {
  const tls = cluster.tls?.build(secrets);
  const address = targetOf(cluster);
  return new Client(address, credentialsOf(tls, target.trustedCaPath), {
    // Reconnecting is paced by us; the channel itself must not sit out its own long back-off.
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.min_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 2000,
    "grpc.max_receive_message_length": -1,
    "grpc.keepalive_time_ms": 30_000,
    "grpc.keepalive_timeout_ms": 10_000,
    "grpc.service_config_disable_resolution": 1,
    ...(target.authority === undefined ? {} : { "grpc.default_authority": target.authority }),
    ...(tls?.sni === undefined ? {} : { "grpc.ssl_target_name_override": tls.sni }),
  });
}

/** The call metadata of a target, read anew for every call. */
export function metadataOf(target: GrpcTarget): Metadata {
  const metadata = new Metadata();
  for (const [key, value] of target.initialMetadata()) metadata.add(key, value);
  return metadata;
}

function targetOf(cluster: ClusterSpec): string {
  const [first, ...rest] = cluster.localEndpoints.endpoints;
  if (first === undefined) {
    throw new SerinError(
      "SERIN_INVALID_BOOTSTRAP",
      `bootstrap: cluster ${cluster.name}: load_assignment has no endpoint to connect to`,
      { source: "caller" },
    );
  }
  if (!isIpAddress(first.address)) return `dns:///${first.address}:${first.port}`;
  const scheme = first.address.includes(":") ? "ipv6" : "ipv4";
  return `${scheme}:${[first, ...rest].map((endpoint) => endpoint.key).join(",")}`;
}

function credentialsOf(
  tls: TlsConfig | undefined,
  trustedCaPath: string | undefined,
): ChannelCredentials {
  if (tls === undefined) return credentials.createInsecure();
  const verification = verificationOf(tls);
  if (trustedCaPath !== undefined && tls.certificateChainPem === undefined) {
    // The mesh's root may change between two connects: the file says which it is by then.
    const authorities = new experimental.FileWatcherCertificateProvider({
      caCertificateFile: trustedCaPath,
      refreshIntervalMs: CA_REFRESH_MS,
    });
    return experimental.createCertificateProviderChannelCredentials(
      authorities,
      null,
      verification,
    );
  }
  const buffer = (pem: string | undefined): Buffer | null =>
    pem === undefined ? null : Buffer.from(pem);
  return credentials.createSsl(
    buffer(tls.trustedCaPem),
    buffer(tls.privateKeyPem),
    buffer(tls.certificateChainPem),
    verification,
  );
}

function verificationOf({ subjectAltNames }: TlsConfig): VerifyOptions {
  if (subjectAltNames.length === 0) return {};
  return {
    checkServerIdentity(_host, certificate) {
      const names = (certificate.subjectaltname ?? "")
        .split(", ")
        .map((entry) => entry.slice(entry.indexOf(":") + 1));
      const isKnown = names.some((name) => subjectAltNames.some((m) => m.matches(name)));
      return isKnown ? undefined : new Error(`no accepted name among ${names.join(", ")}`);
    },
  };
}
