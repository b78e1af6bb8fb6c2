import type { ByteSource } from "../formats/byte-source.ts";
import { type WorkOptions, withThreads } from "../node/threads.ts";
import { type FileSource, fileSource } from "../node.ts";
import type { TaskOptions } from "../pipeline/progress.ts";
import type { CommonOptions } from "./command-options.ts";
import { createProgressBar } from "./progress-bar.ts";

/** Aborted when the command is asked to stop. */
export const interruption = new AbortController();

export async function withSource<T>(path: string, use: (source: ByteSource) => Promise<T>): Promise<T> {
  return withSources([path], ([source]) => use(source!));
}

export async function withSources<T>(
  paths: readonly string[],
  use: (sources: readonly ByteSource[]) => Promise<T>,
): Promise<T> {
  const sources: FileSource[] = [];
  try {
    for (const path of paths) sources.push(await fileSource(path));
    return await use(sources);
  } finally {
    for (const source of sources) await source.close();
  }
}

export async function withProgress<T>({ quiet }: CommonOptions, run: (task: TaskOptions) => Promise<T>): Promise<T> {
  const bar = await createProgressBar(quiet);
  try {
    return await run({ onProgress: bar.update, signal: interruption.signal });
  } finally {
    bar.stop();
  }
}

/** With progress, threads and a limit to memory. */
export async function withTask<T>(
  options: CommonOptions & WorkOptions,
  run: (task: TaskOptions) => Promise<T>,
): Promise<T> {
  return withThreads(options, (work) => withProgress(options, (task) => run({ ...task, ...work })));
}

export function print(text: string): void {
  process.stdout.write(text);
}
