import { type BlockBits, type KernelName, type Kernels, kernelList, kernelNames } from "../src/kernels/abi.ts";
import { createReference } from "../src/kernels/reference/create-reference.ts";
import type { BenchMemory } from "./bench-memory.ts";
import { batchOf, isNoisy, measure, type Plan, rateOf, ratioOf, warm } from "./harness.ts";
import type { Loops } from "./kernel-calls.ts";
import { COLUMNS, KernelData } from "./kernel-data.ts";
import { workloadOf } from "./kernel-workloads.ts";

/** Sizes are whole rows of columns, and two nibbles go to a byte. */
export const SIZE_STEP = 4 * COLUMNS;

/** Three regions of this size end below 2 GiB, up to where addresses are positive in JavaScript. */
export const LARGEST_SIZE = 2 ** 29;

/** V8 swaps in better code between calls: loops are called over this little before they are timed over much. */
const WARM_ELEMENTS = 16 * COLUMNS;

/** How thoroughly to measure. */
export interface Pace {
  readonly kernels: Plan;
  /** For the reference and the plain loop, which take up to a hundred times as long. */
  readonly loops: Plan;
  /** The most bytes of float32 they are measured over. */
  readonly loopBytes: number;
}

export const paces: Readonly<Record<"full" | "quick", Pace>> = {
  full: {
    kernels: { rounds: 5, time: 150, calls: 15, warmupTime: 40, warmupCalls: 2 },
    loops: { rounds: 1, time: 60, calls: 3, warmupTime: 30, warmupCalls: 1 },
    loopBytes: 2 ** 24,
  },
  quick: {
    kernels: { rounds: 3, time: 15, calls: 3, warmupTime: 10, warmupCalls: 1 },
    loops: { rounds: 1, time: 5, calls: 1, warmupTime: 5, warmupCalls: 1 },
    loopBytes: 2 ** 20,
  },
};

/** A kernel, and where its calls name the width of codes one of these. */
export interface KernelCase {
  readonly name: string;
  readonly kernel: KernelName;
  readonly bits?: BlockBits;
}

export const kernelCases = kernelNames.flatMap((kernel): readonly KernelCase[] => {
  const widths = kernelList[kernel].bits;
  return widths?.map((bits) => ({ name: `${kernel} ${bits} bits`, kernel, bits })) ?? [{ name: kernel, kernel }];
});

/** What a kernel did at one size. Rates are in GB (10^9 bytes) of float32 a second, spreads in percent of the median. */
export interface Result {
  /** Of the case. */
  readonly name: string;
  /** Bytes of float32. */
  readonly size: number;
  readonly rate: number;
  readonly spread: number;
  readonly copyRate: number;
  readonly copySpread: number;
  /** Its time over that of memory.copy of the same bytes. */
  readonly timesCopy: number;
  readonly referenceRate: number;
  /** The plain loop's; undefined where nobody writes one. */
  readonly plainRate: number | undefined;
  /** Of any of them. */
  readonly noisy: boolean;
}

/** The reference kernels over the memory of the module: slow, so only where they are measured. */
export async function createWarmReference(bed: BenchMemory): Promise<Kernels> {
  const reference = createReference(bed.memory.memory);
  await useEveryReference(bed, reference);
  return reference;
}

/**
 * The reference kernels share their innermost loop, which slows down as more kernels come through it. All of them go
 * first, so that figures do not depend on which kernels are measured, or in what order.
 */
async function useEveryReference({ memory }: BenchMemory, reference: Kernels): Promise<void> {
  const stage = new KernelData(memory, 16 * COLUMNS);
  for (const name of kernelNames) workloadOf(name, stage, await loopsFor(name)).kernel(reference, stage.elements)();
  stage.free();
}

/** A copy of the plain loops for each kernel: V8 makes a loop slower for all once it has seen several types of arrays. */
function loopsFor(name: KernelName): Promise<Loops> {
  return import(`./plain-loops.ts?for=${name}`);
}

/** Measures one kernel over the whole stage, and its rivals over as much of it as `pace` gives them. */
export async function measureKernel(
  bed: BenchMemory,
  reference: Kernels,
  stage: KernelData,
  { name, kernel: kernelName, bits }: KernelCase,
  pace: Pace,
): Promise<Result> {
  const { elements } = stage;
  const size = 4 * elements;
  const { kernel, plain } = workloadOf(kernelName, stage, await loopsFor(kernelName), bits);
  const copy = () => {
    bed.copy(stage.output, stage.input, size);
    return 0;
  };
  const fast = await measure({ copy, kernel: kernel(bed.kernels, elements) }, pace.kernels, batchOf(size));

  const loopSize = Math.min(size, pace.loopBytes);
  const timeLoop = async (over: (elements: number) => () => number) => {
    warm(over(Math.min(elements, WARM_ELEMENTS)), pace.loops.warmupTime);
    return (await measure({ loop: over(loopSize / 4) }, pace.loops, batchOf(loopSize))).loop;
  };
  const referenceTime = await timeLoop((n) => kernel(reference, n));
  const plainTime = plain && (await timeLoop(plain));
  return {
    name,
    size,
    rate: rateOf(size, fast.kernel),
    spread: fast.kernel.spread,
    copyRate: rateOf(size, fast.copy),
    copySpread: fast.copy.spread,
    timesCopy: ratioOf(fast.kernel, fast.copy),
    referenceRate: rateOf(loopSize, referenceTime),
    plainRate: plainTime && rateOf(loopSize, plainTime),
    noisy: isNoisy(fast.kernel, fast.copy, referenceTime, ...(plainTime ? [plainTime] : [])),
  };
}
