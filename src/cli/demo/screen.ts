import { renderView, type ViewModel } from "./view.ts";

/** A terminal as Node sees it. */
interface Terminal extends NodeJS.WritableStream {
  readonly isTTY?: boolean;
  readonly columns?: number;
  readonly rows?: number;
}

const REDRAW_MS = 500;

/** Draws the view twice a second on the terminal's alternate screen; `close` gives the terminal back. */
export function openScreen(
  stdout: Terminal,
  env: NodeJS.ProcessEnv,
  model: () => ViewModel,
): { close(): void } {
  const draw = (): void => {
    const { columns = 80, rows = 24 } = stdout;
    const isColor = (env["NO_COLOR"] ?? "") === "" && env["TERM"] !== "dumb";
    const lines = renderView(model(), { columns, rows, isColor }).split("\n");
    // Each line clears its own rest: clearing the whole screen first would flicker.
    stdout.write(`\u001b[H${lines.map((line) => `${line}\u001b[K`).join("\r\n")}\u001b[J`);
  };
  stdout.write("\u001b[?1049h\u001b[?25l");
  draw();
  const timer = setInterval(draw, REDRAW_MS);
  return {
    close() {
      clearInterval(timer);
      stdout.write("\u001b[?25h\u001b[?1049l");
    },
  };
}

/** Whether the stream is a terminal that the view can be drawn on. */
export function isTerminal(stream: NodeJS.WritableStream): boolean {
  return "isTTY" in stream && stream.isTTY === true;
}
