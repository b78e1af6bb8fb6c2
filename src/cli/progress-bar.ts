import type { TaskProgress } from "../pipeline/progress.ts";
import * as format from "./format.ts";

export interface ProgressBar {
  update(progress: TaskProgress): Promise<void>;
  stop(): void;
}

const BAR_WIDTH = 30;
/** Bar, percentage and the spaces between. */
const REST = BAR_WIDTH + 8;

/** A bar with tensor names on a terminal's stderr; elsewhere, or when told to be quiet, nothing. */
export async function createProgressBar(quiet: boolean | undefined): Promise<ProgressBar> {
  if (quiet || !process.stderr.isTTY || process.env.TERM === "dumb") return { update: yieldToSignals, stop() {} };
  // Loaded here, so that a run without a terminal does not pay for it.
  const { default: cliProgress } = await import("cli-progress");
  const bar = new cliProgress.SingleBar(
    {
      format: "{bar} {percentage}% {tensor}",
      stream: process.stderr,
      clearOnComplete: true,
      hideCursor: true,
      gracefulExit: false, // signals are the command's business
      barsize: BAR_WIDTH,
    },
    cliProgress.Presets.shades_classic,
  );
  let started = false;
  return {
    async update({ done, total, tensor }) {
      const payload = { tensor: format.name(tensor, Math.max((process.stderr.columns || 80) - REST, 0)) };
      if (started) bar.update(done, payload);
      else bar.start(Math.max(total, 1), done, payload);
      started = true;
      await yieldToSignals();
    },
    stop() {
      if (started) bar.stop();
    },
  };
}

/** Between tensors, let the event loop see Ctrl-C and the terminal its bar. */
function yieldToSignals(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
