import { writeFile } from "node:fs/promises";
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { type KernelName, kernelNames } from "../src/kernels/abi.ts";
import { formatNumber, formatSize, formatTable, parseSize, quantile } from "./harness.ts";
import { createBed, LARGEST_SIZE, measureKernel, type Pace, paces, type Result, SIZE_STEP } from "./run.ts";
import { Stage } from "./stage.ts";

const usage = `npm run bench -- [options]
  --filter TEXT     only kernels whose name has TEXT in it
  --size A,B        sizes of the float32 data (64KiB,1MiB,16MiB,128MiB)
  --quick           a rough look, in a fraction of the time
  --json FILE       the figures as JSON as well`;

interface Options {
  readonly names: readonly KernelName[];
  /** Bytes. */
  readonly sizes: readonly number[];
  readonly pace: Pace;
  readonly json: string | undefined;
}

class UsageError extends Error {}

function optionsOf(args: string[]): Options {
  const { values } = parseArgs({
    args,
    options: {
      filter: { type: "string", default: "" },
      size: { type: "string", default: "64KiB,1MiB,16MiB,128MiB" },
      quick: { type: "boolean", default: false },
      json: { type: "string" },
    },
  });
  const names = kernelNames.filter((name) => name.toLowerCase().includes(values.filter.toLowerCase()));
  if (names.length === 0) throw new UsageError(`--filter ${values.filter}: no kernel has this in its name`);
  return {
    names,
    sizes: values.size.split(",").map(sizeOf),
    pace: paces[values.quick ? "quick" : "full"],
    json: values.json,
  };
}

function sizeOf(text: string): number {
  const bytes = parseSize(text);
  if (!bytes || bytes % SIZE_STEP !== 0 || bytes > LARGEST_SIZE) {
    const [step, most] = [SIZE_STEP, LARGEST_SIZE].map(formatSize);
    throw new UsageError(`--size ${text}: give a multiple of ${step} up to ${most}, like 64KiB or 1MiB`);
  }
  return bytes;
}

function environment() {
  const processors = cpus();
  return {
    node: process.versions.node,
    v8: process.versions.v8,
    cpu: processors[0]?.model.trim() ?? "unknown",
    cores: processors.length,
  };
}

const legend = `GB/s       of float32: 4 bytes an element whatever the kernel reads and writes; median
spread     interquartile range of the median
time/copy  time over that of memory.copy of the float32 bytes; lower is better
vs         times faster than the TypeScript twin and the plain JavaScript loop
`;

const headings = ["kernel", "GB/s", "spread", "time/copy", "vs twin", "vs plain", "twin GB/s", "plain GB/s"];

function lineOf({ name, rate, spread, timesCopy, twinRate, plainRate }: Result): string[] {
  return [
    name,
    formatNumber(rate),
    `${spread.toFixed(1)} %`,
    timesCopy.toFixed(2),
    formatNumber(rate / twinRate),
    formatNumber(plainRate && rate / plainRate),
    formatNumber(twinRate),
    formatNumber(plainRate),
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
  const yardstick = ["memory.copy", formatNumber(copyRate), `${copySpread.toFixed(1)} %`, "1.00", "-", "-", "-", "-"];
  const cut = size > loopBytes ? `; twin and plain loop over its first ${formatSize(loopBytes)}` : "";
  return `${formatSize(size)} of float32${cut}\n\n${formatTable([headings, yardstick, ...results.map(lineOf)])}\n`;
}

/** On a terminal one line that changes; elsewhere nothing. */
function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`);
}

async function main(args: string[]): Promise<void> {
  const { names, sizes, pace, json } = optionsOf(args);
  const machine = environment();
  console.log(`Node ${machine.node}, V8 ${machine.v8}\n${machine.cpu}, ${machine.cores} cores\n\n${legend}`);

  const bed = await createBed();
  const results: Result[] = [];
  for (const size of sizes) {
    const stage = new Stage(bed.memory, size / 4);
    const block: Result[] = [];
    for (const name of names) {
      progress(`${formatSize(size)}  ${block.length + 1}/${names.length}  ${name}`);
      block.push(await measureKernel(bed, stage, name, pace));
    }
    progress("");
    stage.free();
    console.log(blockOf(size, block, pace));
    results.push(...block);
  }
  if (json !== undefined) await writeFile(json, `${JSON.stringify({ machine, results }, null, 2)}\n`);
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  const wrongUsage = error instanceof UsageError || (error as { code?: string }).code?.startsWith("ERR_PARSE_ARGS");
  if (!wrongUsage) throw error;
  console.error(`${(error as Error).message}\n\n${usage}`);
  process.exitCode = 2;
}
