/**
 * Expands `$(NAME)` as Kubernetes does in commands, arguments and values: an unknown name stays as
 * it is written, `$$(NAME)` is the text `$(NAME)`.
 * Source: k8s.io/kubernetes third_party/forked/golang/expansion.
 */
export function expandVariables(text: string, env: Readonly<Record<string, string>>): string {
  return text.replace(/\$(\$|\(([^)]*)\))/g, (written, what: string, name: string | undefined) => {
    if (what === "$") return "$";
    return name !== undefined && Object.hasOwn(env, name) ? (env[name] ?? "") : written;
  });
}
