import { execFile } from "node:child_process";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
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
 * start one takes longer than most calls. Threads are used again, so that Node and what the command imports are loaded
 * once: that it ends by itself, and what it does with signals, is for processes to show.
 */
export function runnerIn(folder: () => string) {
  return (...args: string[]): Promise<Result> => within(folder(), () => inThread(args));
}

type Message = { readonly name: "stdout" | "stderr"; readonly chunk: Uint8Array } | { readonly code: number };

/** Threads that have nothing to do, with how many calls they have had. */
const idle: { readonly thread: Worker; calls: number }[] = [];

/** The modules of each call stay in memory. */
const MOST_CALLS = 60;

async function inThread(argv: readonly string[]): Promise<Result> {
  const used = idle.pop() ?? { thread: started(), calls: 0 };
  const { thread } = used;
  thread.ref();
  const { isEnded, ...result } = await called(thread, argv);
  used.calls++;
  if (isEnded || used.calls === MOST_CALLS) await thread.terminate();
  else {
    thread.unref();
    idle.push(used);
  }
  return result;
}

function called(thread: Worker, argv: readonly string[]): Promise<Result & { isEnded: boolean }> {
  return new Promise((resolve, reject) => {
    const chunks = { stdout: [] as Uint8Array[], stderr: [] as Uint8Array[] };
    const textOf = (parts: readonly Uint8Array[]) => Buffer.concat(parts).toString();
    const end = (code: number, isEnded: boolean) => {
      thread.off("message", onMessage).off("exit", onExit).off("error", onError);
      resolve({ code, stdout: textOf(chunks.stdout), stderr: textOf(chunks.stderr), isEnded });
    };
    const onMessage = (message: Message) => {
      if ("code" in message) end(message.code, false);
      else chunks[message.name].push(message.chunk);
    };
    const onExit = (code: number) => end(code, true);
    const onError = reject; // the test fails, and the thread is gone
    thread.on("message", onMessage).on("exit", onExit).on("error", onError);
    thread.postMessage(argv);
  });
}

function started(): Worker {
  const workerData = { path: main, url: pathToFileURL(main).href };
  return new Worker(new URL("command-thread.mjs", import.meta.url), { workerData });
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
