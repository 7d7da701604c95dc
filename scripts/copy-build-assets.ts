/**
 * After `tsc`: what the compiled package needs besides its own code. The generated xDS codec, which
 * tsc does not compile, and the examples as JavaScript with the table that maps images to them.
 */
import { spawnSync } from "node:child_process";
import { cpSync, readFileSync, writeFileSync } from "node:fs";

cpSync("src/xds/generated", "dist/xds/generated", { recursive: true });

const { status } = spawnSync("tsc", ["-p", "tsconfig.examples.json"], { stdio: "inherit" });
if (status !== 0) process.exit(status ?? 1);
const table = readFileSync("examples/images.yaml", "utf8");
writeFileSync("dist/examples/images.yaml", table.replaceAll(".ts]", ".js]"));
