/** After `tsc`: puts the generated xDS codec, which tsc does not compile, beside the compiled code. */
import { cpSync } from "node:fs";

cpSync("src/xds/generated", "dist/xds/generated", { recursive: true });
