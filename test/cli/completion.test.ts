import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { commandShape } from "../../src/cli/completion/command-shape.ts";
import { runCommand } from "./run-command.ts";

const dir = mkdtempSync(join(tmpdir(), "serin-completion-"));
after(() => rmSync(dir, { recursive: true, force: true }));
writeFileSync(join(dir, "reviews.yaml"), "");

async function script(shell: string): Promise<string> {
  const { code, stdout } = await runCommand(["completion", shell]);
  assert.equal(code, 0);
  const path = join(dir, `serin.${shell}`);
  writeFileSync(path, stdout);
  return path;
}

/** Whether a shell is installed; bash is everywhere. */
function needs(shell: string): string | false {
  try {
    execFileSync(shell, ["-c", "exit 0"]);
    return false;
  } catch {
    return `needs ${shell}`;
  }
}

/** What real bash offers after these words, the last of which is being written. */
async function inBash(...words: readonly string[]): Promise<readonly string[]> {
  const program = `set -u; source "$1"; shift; COMP_WORDS=(serin "$@"); COMP_CWORD=$#; _serin; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const args = ["--norc", "-c", program, "bash", await script("bash"), ...words];
  return execFileSync("bash", args, { encoding: "utf8", cwd: dir }).split("\n").filter(Boolean);
}

for (const [words, offered] of [
  [["an"], ["analyze"]],
  [["pro"], ["proxy", "proxy-config", "proxy-status"]],
  [["kube"], ["kube-inject"]],
  [["help", "val"], ["validate"]],
  [
    ["completion", ""],
    ["bash", "zsh", "fish"],
  ],
  [["authn", ""], ["tls-check"]],
  [
    ["proxy-config", "l"],
    ["listeners", "log"],
  ],
  [["pc", "en"], ["endpoints"]],
  [["analyze", "--output-t"], ["--output-threshold"]],
  [
    ["analyze", "--failure-threshold", ""],
    ["Info", "Warning", "Error"],
  ],
  [["analyze", "-o", "j"], ["json"]],
  [["analyze", "rev"], ["reviews.yaml"]],
  [["inject", "-f", "rev"], ["reviews.yaml"]],
  [["get", "-n", ""], []],
  [["nonsense", ""], []],
] as const) {
  test(`bash completes: serin ${words.join(" ")}`, async () => {
    assert.deepEqual([...(await inBash(...words))].sort(), [...offered].sort());
  });
}

test("zsh takes the script, and knows every command", { skip: needs("zsh") }, async () => {
  const program = `autoload -Uz compinit; compinit -D -d "$2"; source "$1"; print -r -- $_comps[serin]`;
  const args = ["-f", "-c", program, "zsh", await script("zsh"), join(dir, "dump")];
  assert.equal(execFileSync("zsh", args, { encoding: "utf8" }).trim(), "_serin");
});

for (const [line, offered] of [
  ["serin an", ["analyze"]],
  ["serin proxy-config l", ["listeners", "log"]],
  ["serin analyze --failure-threshold ", ["Error", "Info", "Warning"]],
] as const) {
  test(`fish completes: ${line}`, { skip: needs("fish") }, async () => {
    const program = `source ${await script("fish")}; complete -C ${JSON.stringify(line)}`;
    const env = { ...process.env, HOME: dir };
    const out = execFileSync("fish", ["--no-config", "-c", program], { encoding: "utf8", env });
    const words = out
      .split("\n")
      .filter(Boolean)
      .map((row) => row.split("\t")[0]);
    assert.deepEqual([...words].sort(), [...offered]);
  });
}

test("every command is offered, with every flag of its help", async () => {
  const files = readdirSync("src/cli/commands").map((name) => name.replace(/\.ts$/, ""));
  const offered = await inBash("");
  assert.deepEqual(
    files.filter((name) => !offered.includes(name)),
    [],
  );
  for (const name of files) {
    const { stdout } = await runCommand([name, "--help"]);
    const said = [...stdout.matchAll(/^ +(?:-\w, +)?--([\w-]+)/gm)].map(([, flag]) => flag);
    const shape = commandShape({ name, summary: "", help: stdout, run: async () => 0 });
    assert.deepEqual(
      shape.flags.map(({ long }) => long),
      said,
      name,
    );
  }
});

test("another shell is wrong usage", async () => {
  assert.equal((await runCommand(["completion", "tcsh"])).code, 2);
  assert.equal((await runCommand(["completion"])).code, 2);
});
