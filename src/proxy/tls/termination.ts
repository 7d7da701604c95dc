import type { Socket } from "node:net";
import { createServer, type Server, type TLSSocket } from "node:tls";
import type { TlsConfig } from "../config/runtime-config.ts";
import type { TlsSession } from "./certificate-facts.ts";
import {
  identityOf,
  isAcceptedPeer,
  ownUrisOf,
  type PeerIdentity,
  secureContextOptions,
} from "./secure-contexts.ts";

/** A client that has opened TLS must finish its handshake in this time. */
const HANDSHAKE_TIMEOUT_MS = 15_000;

/** A client's side of a finished handshake. */
export interface SecuredConnection {
  readonly socket: TLSSocket;
  /** The verified certificate's; undefined when the client showed none. */
  readonly identity: PeerIdentity | undefined;
  readonly session: TlsSession;
  /** The URIs of our own certificate. */
  readonly ownUris: readonly string[];
}

interface Expected {
  readonly onSecured: (secured: SecuredConnection) => void;
  readonly onRefused: () => void;
}

/**
 * Ends TLS on sockets that somebody else accepted. A `tls.Server` that never listens does the work
 * (emitting `connection` on it is its documented use); it is made once per TLS configuration and ALPN
 * offer, so that session tickets stay valid from one connection to the next.
 */
export class TlsTermination {
  readonly #servers = new WeakMap<TlsConfig, Map<string, Server>>();
  readonly #expected = new Map<string, Expected>();

  /** Runs the handshake on `raw`; exactly one of the callbacks is called, unless `raw` closes. */
  secure(raw: Socket, tls: TlsConfig, protocols: readonly string[], expected: Expected): void {
    const key = connectionKey(raw);
    this.#expected.set(key, expected);
    raw.once("close", () => this.#expected.delete(key));
    this.#server(tls, protocols).emit("connection", raw);
  }

  #server(tls: TlsConfig, protocols: readonly string[]): Server {
    let servers = this.#servers.get(tls);
    if (servers === undefined) {
      servers = new Map();
      this.#servers.set(tls, servers);
    }
    const offer = protocols.join(",");
    let server = servers.get(offer);
    if (server === undefined) {
      server = this.#create(tls, protocols);
      servers.set(offer, server);
    }
    return server;
  }

  #create(tls: TlsConfig, protocols: readonly string[]): Server {
    const server = createServer({
      ...secureContextOptions(tls),
      allowHalfOpen: true,
      handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
      requestCert: tls.trustedCaPem !== undefined || needsCertificate(tls),
      // Judged below: a certificate may be optional and still has to be valid when there is one.
      rejectUnauthorized: false,
      ...(protocols.length === 0 ? {} : { ALPNProtocols: [...protocols] }),
    });
    const ownUris = ownUrisOf(tls.certificateChainPem);
    server.on("secureConnection", (socket: TLSSocket) => {
      const key = connectionKey(socket);
      const expected = this.#expected.get(key);
      this.#expected.delete(key);
      const verdict = judgePeer(socket, tls);
      if (expected === undefined || !verdict.isAccepted) {
        // The handshake went through, so the client learns it by the reset (as with Envoy, TLS 1.3).
        socket.destroy();
        expected?.onRefused();
        return;
      }
      const { identity } = verdict;
      const session: TlsSession = {
        version: socket.getProtocol() ?? "",
        cipher: socket.getCipher()?.standardName ?? "",
        identity,
        ownChainPem: tls.certificateChainPem,
      };
      expected.onSecured({ socket, identity, ownUris, session });
    });
    server.on("tlsClientError", (_, socket: TLSSocket) => {
      const expected = this.#expected.get(connectionKey(socket));
      socket.destroy();
      expected?.onRefused();
    });
    return server;
  }
}

/** Names a connection among those that are open now. */
function connectionKey(socket: Socket): string {
  return `${socket.remoteAddress}|${socket.remotePort}|${socket.localAddress}|${socket.localPort}`;
}

interface Verdict {
  readonly isAccepted: boolean;
  readonly identity: PeerIdentity | undefined;
}

/** As Envoy: who is asked for a name or a hash must show a certificate, required or not. */
function needsCertificate({ requireClientCertificate, subjectAltNames, pins }: TlsConfig): boolean {
  return requireClientCertificate || subjectAltNames.length > 0 || pins !== undefined;
}

function judgePeer(socket: TLSSocket, tls: TlsConfig): Verdict {
  const certificate = socket.getPeerCertificate();
  // Node gives an empty object for "none". A resumed session still carries the certificate.
  if (certificate?.raw === undefined) {
    return { isAccepted: !needsCertificate(tls), identity: undefined };
  }
  const isValid = tls.trustedCaPem === undefined || socket.authorized;
  if (!isValid || !isAcceptedPeer(tls, certificate)) {
    return { isAccepted: false, identity: undefined };
  }
  return { isAccepted: true, identity: identityOf(certificate) };
}
