import { execFile } from "node:child_process";
import { join } from "node:path";

/** The built command, as users run it: `npm test` builds before. */
export const main = join(import.meta.dirname, "../../dist/cli/main.js");

export interface Result {
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs the command in a folder that need not be there yet. */
export function runnerIn(folder: () => string) {
  return (...args: string[]): Promise<Result> =>
    new Promise((resolve) => {
      execFile(process.execPath, [main, ...args], { cwd: folder() }, (error, stdout, stderr) => {
        resolve({ code: typeof error?.code === "number" ? error.code : error ? -1 : 0, stdout, stderr });
      });
    });
}
