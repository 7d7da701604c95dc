import { stringify } from "yaml";
import { writePrivateFile } from "./private-file.ts";

/** Writes the kubeconfig (mode 0600) that lets kubectl in as administrator. */
export function writeKubeconfig(
  path: string,
  server: { readonly url: string; readonly caPem: string; readonly token: string },
): void {
  writePrivateFile(
    path,
    stringify({
      apiVersion: "v1",
      kind: "Config",
      "current-context": "serin",
      clusters: [
        {
          name: "serin",
          cluster: {
            server: server.url,
            "certificate-authority-data": Buffer.from(server.caPem).toString("base64"),
          },
        },
      ],
      contexts: [{ name: "serin", context: { cluster: "serin", user: "serin-admin" } }],
      users: [{ name: "serin-admin", user: { token: server.token } }],
    }),
  );
}
