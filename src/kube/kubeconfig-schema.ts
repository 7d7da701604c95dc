import { z } from "zod";

const text = z.string().nullish();
const list = <T extends z.ZodType>(item: T) =>
  z
    .array(item)
    .nullish()
    .transform((items) => items ?? []);

const cluster = z.object({
  server: text,
  "certificate-authority": text,
  "certificate-authority-data": text,
  "insecure-skip-tls-verify": z.boolean().nullish(),
  "tls-server-name": text,
  "proxy-url": text,
});

const exec = z.object({
  apiVersion: text,
  command: text,
  args: list(z.string()),
  env: list(z.object({ name: z.string(), value: z.string() })),
  installHint: text,
  provideClusterInfo: z.boolean().nullish(),
  interactiveMode: z.enum(["Never", "IfAvailable", "Always"]).nullish(),
});

const user = z.object({
  "client-certificate": text,
  "client-certificate-data": text,
  "client-key": text,
  "client-key-data": text,
  token: text,
  tokenFile: text,
  username: text,
  password: text,
  as: text,
  "as-uid": text,
  "as-groups": list(z.string()),
  "as-user-extra": z.record(z.string(), z.array(z.string())).nullish(),
  exec: exec.nullish(),
  "auth-provider": z.object({ name: z.string() }).nullish(),
});

const context = z.object({ cluster: text, user: text, namespace: text });

/**
 * What a kubeconfig file may say, as far as it matters for reaching the API. Other fields
 * (preferences, extensions) are left alone. Source: k8s.io/client-go, tools/clientcmd/api/v1.
 */
export const kubeconfigSchema = z.object({
  "current-context": text,
  clusters: list(z.object({ name: z.string(), cluster: cluster.nullish() })),
  users: list(z.object({ name: z.string(), user: user.nullish() })),
  contexts: list(z.object({ name: z.string(), context: context.nullish() })),
});

export type KubeconfigFile = z.infer<typeof kubeconfigSchema>;
export type KubeconfigCluster = z.infer<typeof cluster>;
export type KubeconfigUser = z.infer<typeof user>;
export type ExecPlugin = z.infer<typeof exec>;
