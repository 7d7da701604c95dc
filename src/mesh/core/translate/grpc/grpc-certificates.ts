import type { MessageTypes } from "../../../../xds/index.ts";
import { TRUST_BUNDLE, WORKLOAD_CERTIFICATE } from "../upstream-tls.ts";

type CommonTlsContext = MessageTypes["envoy.extensions.transport_sockets.tls.v3.CommonTlsContext"];

/** The certificate provider that every gRPC bootstrap of the mesh names (Istio's). */
const PROVIDER = "default";

/**
 * The workload's certificate and the mesh's roots, from the provider that the bootstrap names: gRPC
 * takes no secrets over xDS (gRFC A29). `identities`: who may be at the other end; empty = anybody
 * of the mesh.
 */
export function grpcCertificates(identities: readonly string[]): CommonTlsContext {
  return {
    tls_certificate_provider_instance: {
      instance_name: PROVIDER,
      certificate_name: WORKLOAD_CERTIFICATE,
    },
    combined_validation_context: {
      default_validation_context: {
        ca_certificate_provider_instance: {
          instance_name: PROVIDER,
          certificate_name: TRUST_BUNDLE,
        },
        match_subject_alt_names: identities.map((exact) => ({ exact })),
      },
    },
  };
}
