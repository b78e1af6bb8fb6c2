import { type Bed, createBed } from "./bed.ts";
import type { Options } from "./options.ts";
import { createWorkshop, type Workshop } from "./workshop.ts";

/** What groups have in common. */
export interface Context extends Options {
  /** Made when it is first asked for. */
  bed(): Promise<Bed>;
  readonly workshop: Workshop;
  print(text: string): void;
  /** On a terminal one line that changes; elsewhere nothing. */
  progress(text: string): void;
}

export function createContext(options: Options): Context {
  let bed: Promise<Bed> | undefined;
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
