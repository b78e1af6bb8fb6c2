import type { Context } from "./context.ts";
import { formatNumber, formatSize, formatTable, markOf, quantile } from "./harness.ts";
import { KernelData } from "./kernel-data.ts";
import { createWarmReference, kernelCases, measureKernel, type Pace, paces, type Result } from "./measure-kernel.ts";
import { UsageError } from "./options.ts";

const legend = `time/copy  time over that of memory.copy of the float32 bytes; lower is better
vs         times faster than the TypeScript reference and the plain JavaScript loop
`;

const headings = ["kernel", "GB/s", "spread", "time/copy", "vs ref", "vs plain", "ref GB/s", "plain GB/s", ""];

function lineOf(result: Result): string[] {
  const { name, rate, spread, timesCopy, referenceRate, plainRate } = result;
  return [
    name,
    formatNumber(rate),
    `${spread.toFixed(1)} %`,
    timesCopy.toFixed(2),
    formatNumber(rate / referenceRate),
    formatNumber(plainRate && rate / plainRate),
    formatNumber(referenceRate),
    formatNumber(plainRate),
    markOf(result),
  ];
}

function blockOf(size: number, results: readonly Result[], { loopBytes }: Pace): string {
  const copyRate = quantile(
    results.map((result) => result.copyRate),
    0.5,
  );
  const copySpread = quantile(
    results.map((result) => result.copySpread),
    0.5,
  );
  const yardstick = [
    "memory.copy",
    formatNumber(copyRate),
    `${copySpread.toFixed(1)} %`,
    "1.00",
    "-",
    "-",
    "-",
    "-",
    "",
  ];
  const cut = size > loopBytes ? `; reference and plain loop over its first ${formatSize(loopBytes)}` : "";
  return `${formatSize(size)} of float32${cut}\n\n${formatTable([headings, yardstick, ...results.map(lineOf)])}\n`;
}

/** Every kernel of the module, call by call as the engine makes them. */
export async function benchKernels(context: Context): Promise<Result[]> {
  const { filter, sizes, quick, print, progress } = context;
  const cases = kernelCases.filter(({ name }) => name.toLowerCase().includes(filter.toLowerCase()));
  if (cases.length === 0) throw new UsageError(`--filter ${filter}: no kernel has this in its name`);
  print(legend);
  const pace = paces[quick ? "quick" : "full"];
  const bed = await context.bed();
  const reference = await createWarmReference(bed);
  const results: Result[] = [];
  for (const size of sizes) {
    const stage = new KernelData(bed.memory, size / 4);
    const block: Result[] = [];
    for (const one of cases) {
      progress(`${formatSize(size)}  ${block.length + 1}/${cases.length}  ${one.name}`);
      block.push(await measureKernel(bed, reference, stage, one, pace));
    }
    stage.free();
    print(blockOf(size, block, pace));
    results.push(...block);
  }
  return results;
}
