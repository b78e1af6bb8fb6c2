import { type BenchMemory, createBed } from "./bench-memory.ts";
import type { Options } from "./options.ts";
import { createWorkshop, type TemporaryModels } from "./temporary-models.ts";

/** What groups have in common. */
export interface Context extends Options {
  /** Made when it is first asked for. */
  bed(): Promise<BenchMemory>;
  readonly workshop: TemporaryModels;
  print(text: string): void;
  /** On a terminal one line that changes; elsewhere nothing. */
  progress(text: string): void;
}

export function createContext(options: Options): Context {
  let bed: Promise<BenchMemory> | undefined;
  const progress = (text: string) => {
    if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`);
  };
  return {
    ...options,
    bed: () => {
      bed ??= createBed();
      return bed;
    },
    workshop: createWorkshop(options.quick),
    print: (text) => {
      progress("");
      console.log(text);
    },
    progress,
  };
}
