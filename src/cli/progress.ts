import type { Progress } from "../checkpoint/report.ts";
import { printable } from "./table.ts";

export interface ProgressBar {
  update(progress: Progress): Promise<void>;
  stop(): void;
}

const NAME_WIDTH = 40;

/** A bar with tensor names on a terminal's stderr; elsewhere, or when told to be quiet, nothing. */
export async function createProgressBar(quiet: boolean): Promise<ProgressBar> {
  if (quiet || !process.stderr.isTTY) return { update: yieldToSignals, stop() {} };
  // Loaded here, so that a run without a terminal does not pay for it.
  const { default: cliProgress } = await import("cli-progress");
  const bar = new cliProgress.SingleBar(
    {
      format: "{bar} {percentage}% {tensor}",
      stream: process.stderr,
      clearOnComplete: true,
      hideCursor: true,
      gracefulExit: false, // signals are the command's business
      barsize: 30,
    },
    cliProgress.Presets.shades_classic,
  );
  let started = false;
  return {
    async update({ done, total, tensor }) {
      const payload = { tensor: printable(tensor).slice(0, NAME_WIDTH) };
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
