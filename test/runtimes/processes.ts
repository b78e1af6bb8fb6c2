import { fork } from "node:child_process";
import { join } from "node:path";
import type { Outputs } from "../helpers/sessions.ts";
import type { Message, Run } from "./run-models.ts";
import type { Runtime } from "./versions.ts";

/** What a model gave on each of its feeds, or why it gave nothing. */
export type Result = { readonly outputs: readonly Outputs[] } | { readonly error: string };

const program = join(import.meta.dirname, "run-models.ts");

/** The longest that a model may take, in ms. */
const PATIENCE = 120_000;

/** Runs all in a process of the runtime's own, and in another one from where that ended before its time. */
export async function runAllIn(runtime: Runtime, runs: readonly Run[]): Promise<Result[]> {
  const results: Result[] = [];
  while (results.length < runs.length) {
    const end = await runSome(runtime, runs, results);
    if (end === NEVER_STARTED) {
      throw new Error(`${runtime.name} does not start: node --import tsx ${program} ${runtime.kind} ${runtime.entry}`);
    }
    if (results.length < runs.length) results.push({ error: end });
  }
  return results;
}

const NEVER_STARTED = "the process ended before it started";

/** Adds results until there are no more; says how the process ended. */
function runSome(runtime: Runtime, runs: readonly Run[], results: Result[]): Promise<string> {
  const child = fork(program, [runtime.kind, runtime.entry!], {
    execArgv: ["--import", "tsx"],
    serialization: "advanced",
    stdio: ["ignore", "ignore", "ignore", "ipc"],
  });
  let hasStarted = false;
  let isLate = false;
  const stop = () => {
    isLate = true;
    child.kill("SIGKILL");
  };
  let clock = setTimeout(stop, PATIENCE);
  child.on("message", (message: Message) => {
    clearTimeout(clock);
    clock = setTimeout(stop, PATIENCE);
    hasStarted = true;
    if ("starts" in message) return;
    const { outputs, error } = message;
    results.push(outputs ? { outputs } : { error: error ?? "no outputs" });
  });
  // Where it cannot be sent the process has ended, which is looked at below.
  child.send(runs.map((run, i) => [i, run] as const).slice(results.length), () => {});
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => {
      clearTimeout(clock);
      if (isLate) resolve(`took longer than ${PATIENCE / 1000} s`);
      else resolve(hasStarted ? `the process ended with ${signal ?? `exit code ${code}`}` : NEVER_STARTED);
    });
  });
}

/** `use` for each, at most so many at once. */
export async function eachOf<T, R>(values: readonly T[], atOnce: number, use: (value: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  const entries = values.entries();
  const work = async () => {
    for (const [i, value] of entries) results[i] = await use(value);
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  return results;
}
