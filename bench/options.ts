import { parseArgs } from "node:util";
import { formatSize, parseSize } from "./harness.ts";
import { LARGEST_SIZE, SIZE_STEP } from "./measure-kernel.ts";
import { ProcessError } from "./process.ts";

export const groupNames = [
  "kernels",
  "candidates",
  "limits",
  "peers",
  "layers",
  "files",
  "threads",
  "inference",
  "python",
] as const;

export type GroupName = (typeof groupNames)[number];

export const usage = `npm run bench -- [options]
  --group A,B       of ${groupNames.join(", ")}; all if not said
  --quick           a rough look, in a fraction of the time
  --json FILE       the figures as JSON as well
  --plot FILE.svg   throughput over size, of the group peers
  --check           exit code 1 when something of the group limits is over its limit, unless it is noisy
  --help            this

  of the group kernels, and if no group is named that one alone:
  --filter TEXT     only kernels whose name has TEXT in it; of the group inference, only such models
  --size A,B        sizes of the float32 data (64KiB,1MiB,16MiB,128MiB)

  of the group inference, and if no group is named that one alone:
  --models DIR      a folder of ONNX models (default: those of the project and its packages)`;

export interface Options {
  readonly groups: readonly GroupName[];
  readonly quick: boolean;
  readonly json: string | undefined;
  readonly plot: string | undefined;
  readonly check: boolean;
  readonly filter: string;
  /** A folder of ONNX models. */
  readonly models: string | undefined;
  /** Bytes. */
  readonly sizes: readonly number[];
}

/** What was typed is no use: the usage is shown, and no stack. */
export class UsageError extends Error {}

export function optionsOf(args: string[]): Options {
  const { values } = parseArgs({
    args,
    options: {
      group: { type: "string" },
      quick: { type: "boolean", default: false },
      json: { type: "string" },
      plot: { type: "string" },
      check: { type: "boolean", default: false },
      filter: { type: "string" },
      size: { type: "string" },
      models: { type: "string" },
    },
  });
  const { filter, size, models } = values;
  const groups = values.group?.split(",").map(groupNamed) ?? impliedGroups(values);
  const has = (...names: GroupName[]) => names.some((name) => groups.includes(name));
  if (size !== undefined && !has("kernels")) throw new UsageError("--size: it is of --group kernels");
  if (filter !== undefined && !has("kernels", "inference"))
    throw new UsageError("--filter: it is of --group kernels or inference");
  if (models !== undefined && !has("inference")) throw new UsageError("--models: it is of --group inference");
  if (values.plot !== undefined && !groups.includes("peers")) throw new UsageError("--plot: it is of --group peers");
  if (values.check && !groups.includes("limits")) throw new UsageError("--check: it is of --group limits");
  return {
    groups,
    quick: values.quick,
    json: values.json,
    plot: values.plot,
    check: values.check,
    filter: filter ?? "",
    models,
    sizes: (size ?? "64KiB,1MiB,16MiB,128MiB").split(",").map(sizeOf),
  };
}

/** What is meant where no group is named. */
function impliedGroups({ filter, size, models }: Readonly<Record<string, unknown>>): readonly GroupName[] {
  if (models !== undefined) return ["inference"];
  return filter !== undefined || size !== undefined ? ["kernels"] : groupNames;
}

function groupNamed(text: string): GroupName {
  const name = groupNames.find((each) => each === text.trim());
  if (name === undefined) throw new UsageError(`--group ${text}: there are ${groupNames.join(", ")}`);
  return name;
}

function sizeOf(text: string): number {
  const bytes = parseSize(text);
  if (!bytes || bytes % SIZE_STEP !== 0 || bytes > LARGEST_SIZE) {
    const [step, most] = [SIZE_STEP, LARGEST_SIZE].map(formatSize);
    throw new UsageError(`--size ${text}: give a multiple of ${step} up to ${most}, like 64KiB or 1MiB`);
  }
  return bytes;
}

/** Runs a command of the benchmark; wrong usage ends with exit code 2, a program that fails with 1 and what it said. */
export async function run(main: (args: string[]) => Promise<void>, usage: string): Promise<void> {
  const args = process.argv.slice(2);
  const own = args.includes("--") ? args.slice(0, args.indexOf("--")) : args;
  if (own.includes("--help")) {
    console.log(usage);
    return;
  }
  try {
    await main(args);
  } catch (error) {
    if (error instanceof ProcessError) {
      console.error(error.message);
      process.exitCode = 1;
      return;
    }
    const wrongUsage = error instanceof UsageError || (error as { code?: string }).code?.startsWith("ERR_PARSE_ARGS");
    if (!wrongUsage) throw error;
    console.error(`${(error as Error).message}\n\n${usage}`);
    process.exitCode = 2;
  }
}
