import { execFile } from "node:child_process";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { Worker } from "node:worker_threads";

/** The built command, as users run it: `npm test` builds before. */
export const main = join(import.meta.dirname, "../../dist/cli/main.js");

export interface Result {
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs the command as a process in a folder that need not be there yet. */
export function processIn(folder: () => string) {
  return (...args: string[]): Promise<Result> =>
    new Promise((resolve) => {
      execFile(process.execPath, [main, ...args], { cwd: folder() }, (error, stdout, stderr) => {
        resolve({ code: typeof error?.code === "number" ? error.code : error ? -1 : 0, stdout, stderr });
      });
    });
}

/**
 * The same in a thread, with arguments, streams and an exit code of its own, where the process is not what is tested: to
 * start one takes as long again as most calls.
 */
export function runnerIn(folder: () => string) {
  return (...args: string[]): Promise<Result> => within(folder(), () => inThread(args));
}

async function inThread(argv: readonly string[]): Promise<Result> {
  const thread = new Worker(main, { argv: [...argv], stdout: true, stderr: true });
  const [code, stdout, stderr] = await Promise.all([
    new Promise<number>((resolve, reject) => thread.on("exit", resolve).on("error", reject)),
    text(thread.stdout),
    text(thread.stderr),
  ]);
  return { code, stdout, stderr };
}

const home = process.cwd();
let [running, place] = [0, home];

/** Threads share the process's folder: calls at the same time have to be in one. */
async function within<T>(folder: string, run: () => Promise<T>): Promise<T> {
  if (running > 0 && place !== folder) throw new Error("commands in two folders at the same time");
  running++;
  place = folder;
  process.chdir(folder);
  try {
    return await run();
  } finally {
    running--;
    if (running === 0) process.chdir(home);
  }
}
