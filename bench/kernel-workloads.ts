import { type BlockBits, type KernelName, type Kernels, kernelList } from "../src/kernels/abi.ts";
import { jobs, type Loops } from "./kernel-calls.ts";
import { BLOCK, COLUMNS, type KernelData, LIMIT } from "./kernel-data.ts";

/** What one kernel does over a stage. What its functions return is the work itself, ready to be timed. */
export interface Workload {
  /** The first `elements` elements through the module or the reference, in calls as the engine makes them. */
  kernel(kernels: Kernels, elements: number): () => number;
  /** The same through the loop people write; undefined where nobody writes one. */
  readonly plain: ((elements: number) => () => number) | undefined;
}

/**
 * Puts a kernel's input and parameters in place; they stay there until the next workload's.
 *
 * @param loops a copy of plain-loops.ts that no other kernel uses: loops are fastest while they know one type of array
 * @param bits of kernels whose calls name the width of codes
 */
export function workloadOf(name: KernelName, stage: KernelData, loops: Loops, bits: BlockBits = 4): Workload {
  const entry = kernelList[name];
  const { from, to, head, plain } = jobs[entry.family](stage, entry, loops, name, bits);
  const callOf = (start: number, length: number) => [
    ...head(stage.input + start * from, stage.output + start * to, stage.other + start * from),
    ...tailOf(name, length, bits),
  ];
  return {
    kernel(kernels, elements) {
      const kernel = kernels[name] as (...args: number[]) => number | undefined;
      const starts = Array.from({ length: Math.ceil(elements / LIMIT) }, (_, i) => i * LIMIT);
      const calls = starts.map((start) => callOf(start, Math.min(LIMIT, elements - start)));
      return () => {
        let result = 0;
        for (const call of calls) result += kernel(...call) ?? 0;
        return result;
      };
    },
    plain:
      plain &&
      ((elements) => {
        const loop = plain(elements);
        return () => Number(loop() ?? 0);
      }),
  };
}

/** How a call is told what to go over: one run, or the rows of one group of columns; a matrix of COLUMNS. */
function tailOf(name: KernelName, length: number, bits: BlockBits): number[] {
  const { family, columns } = kernelList[name];
  const others = length / COLUMNS;
  const matrix = columns ? [COLUMNS, others, COLUMNS, BLOCK] : [others, COLUMNS, COLUMNS, BLOCK];
  if (family === "nbits" || family === "pack" || family === "search") return [...matrix, bits, 1, 0];
  if (family === "encode") return [...matrix, bits];
  if (family === "bnb4") return [length, BLOCK, 0];
  if (family === "transpose") return [COLUMNS, others, ...(name === "transposeBytes" ? [] : [COLUMNS])];
  if (family === "blocks") return [1, length / BLOCK, BLOCK, BLOCK, length / BLOCK];
  if (family === "half" || family === "loss") return [length];
  if (family === "count") return [length, 0x7c00];
  if (family === "nibbles") return [length, 0];
  return columns ? [1, 1, others, others, 0, COLUMNS] : [1, 1, length, length, 0];
}
