import type { HalfDType } from "../src/dtypes.ts";
import type { Engine } from "../src/engine/engine.ts";
import type { ResidentTensor } from "../src/engine/tensors/resident-tensor.ts";
import { type BenchMemory, type Ground, groundOf } from "./bench-memory.ts";
import type { Context } from "./context.ts";
import { formatNumber, formatTable, isNoisy, measure, type Plan, ratioOf } from "./harness.ts";
import { blocks, fillWith } from "./kernel-data.ts";

/** 128 MiB of float32, beyond every cache. */
const ROWS = [8192, 4096];
const COLUMNS = [4096, 8192];

/** Calls take turns one by one: what disturbs the machine falls on the yardstick and on what is measured alike. */
const plans: Readonly<Record<"full" | "quick", Plan>> = {
  full: { rounds: 15, time: 0, calls: 15, warmupTime: 0, warmupCalls: 2 },
  quick: { rounds: 3, time: 0, calls: 3, warmupTime: 0, warmupCalls: 1 },
};

interface Work {
  readonly run: () => number;
  /** memory.copy of the float32 bytes if not said. */
  readonly yardstick?: () => number;
  free?(): void;
}

interface Limit {
  readonly name: string;
  /** The most that its time may be of the yardstick's. */
  readonly most: number;
  readonly shape: readonly number[];
  readonly prepare: (engine: Engine, x: ResidentTensor<"float32">) => Work;
}

/** What is kept of a result is its memory: the next call gets it again. */
function quantizing(
  engine: Engine,
  x: ResidentTensor,
  options: NonNullable<Parameters<Engine["quantize"]>[1]> & { out?: undefined },
): () => number {
  return () => {
    const q = engine.quantize(x, options);
    q.dispose();
    return q.scale.length;
  };
}

function matrix(name: string, shape: readonly number[], layout: "NK" | "KN", most: number): Limit {
  const prepare: Limit["prepare"] = (engine, x) => {
    const out = new Uint8Array(x.data.length / 2);
    const outScale = new Float32Array(x.data.length / 32);
    const how = { bits: 4, blockSize: 32, symmetric: true, layout, measure: false, out, outScale } as const;
    return { run: () => engine.quantizeMatrix(x, how).codes.length };
  };
  return { name, shape, most, prepare };
}

function owned(name: string, most: number, fresh: boolean): Limit {
  const prepare: Limit["prepare"] = (engine, { shape, data }) => {
    const x = { data: data.slice(), shape };
    const out = fresh ? undefined : new Int8Array(data.length);
    return { run: () => engine.quantize(x, { dtype: "int8", scale: 0.02, out }).data.length };
  };
  return { name, shape: ROWS, most, prepare };
}

function half(dtype: HalfDType): Limit {
  const bits = new Uint16Array(blocks.values.length);
  const prepare: Limit["prepare"] = (engine, x) => {
    engine.convertToHalf({ data: blocks.values, shape: [bits.length] }, { dtype, out: bits });
    const narrow = engine.allocate(dtype, x.shape);
    fillWith(narrow.data, bits);
    const how = { dtype: "int8", axis: 0 } as const;
    return {
      run: quantizing(engine, narrow, how),
      yardstick: quantizing(engine, x, how),
      free: () => narrow.dispose(),
    };
  };
  return { name: `${dtype} to int8 per channel, against float32`, shape: ROWS, most: 1.5, prepare };
}

const limits: readonly Limit[] = [
  {
    name: "scan",
    shape: ROWS,
    most: 0.9,
    prepare: (engine, x) => ({ run: () => engine.range(x).min[0]! }),
  },
  {
    name: "int8, given scale",
    shape: ROWS,
    most: 1.05,
    prepare: (engine, x) => ({ run: quantizing(engine, x, { dtype: "int8", scale: 0.02 }) }),
  },
  {
    name: "int8 per channel, axis 0",
    shape: ROWS,
    most: 1.35,
    prepare: (engine, x) => ({ run: quantizing(engine, x, { dtype: "int8", axis: 0 }) }),
  },
  {
    name: "int8 per channel, axis 1: channel last",
    shape: COLUMNS,
    most: 1.8,
    prepare: (engine, x) => ({ run: quantizing(engine, x, { dtype: "int8", axis: 1 }) }),
  },
  {
    name: "int4 in blocks of 32",
    shape: ROWS,
    most: 1.45,
    prepare: (engine, x) => ({ run: quantizing(engine, x, { dtype: "int4", axis: 1, blockSize: 32 }) }),
  },
  matrix("4-bit blocks of 32, [N, K] as MatMulNBits has them", ROWS, "NK", 1.45),
  matrix("the same of [K, N]", COLUMNS, "KN", 2.3),
  owned("JavaScript's array, given scale, into out", 2, false),
  owned("JavaScript's array, given scale, fresh output", 3, true),
  half("float16"),
  half("bfloat16"),
];

export interface LimitFigure {
  readonly name: string;
  readonly shape: readonly number[];
  readonly seconds: number;
  readonly spread: number;
  readonly yardstick: "memory.copy" | "float32";
  readonly yardstickSeconds: number;
  readonly yardstickSpread: number;
  readonly ratio: number;
  readonly most: number;
  readonly noisy: boolean;
}

const headings = ["work", "shape", "ms", "spread", "yardstick ms", "spread", "ratio", "at most", ""];

function lineOf(figure: LimitFigure): string[] {
  const { name, shape, seconds, spread, yardstickSeconds, yardstickSpread, ratio, most, noisy } = figure;
  return [
    name,
    shape.join(" x "),
    formatNumber(1000 * seconds),
    `${spread.toFixed(1)} %`,
    formatNumber(1000 * yardstickSeconds),
    `${yardstickSpread.toFixed(1)} %`,
    ratio.toFixed(2),
    most.toFixed(2),
    [...(ratio > most ? ["over"] : []), ...(noisy ? ["noisy"] : [])].join(", "),
  ];
}

async function measureLimit({ engine }: BenchMemory, ground: Ground, limit: Limit, plan: Plan): Promise<LimitFigure> {
  const work = limit.prepare(engine, ground.x);
  try {
    const { yardstick, run } = await measure({ yardstick: work.yardstick ?? ground.copy, run: work.run }, plan);
    return {
      name: limit.name,
      shape: limit.shape,
      seconds: run.seconds,
      spread: run.spread,
      yardstick: work.yardstick ? "float32" : "memory.copy",
      yardstickSeconds: yardstick.seconds,
      yardstickSpread: yardstick.spread,
      ratio: ratioOf(run, yardstick),
      most: limit.most,
      noisy: isNoisy(run, yardstick),
    };
  } finally {
    work.free?.();
  }
}

/** For `--check`: what is over its limit, or too noisy to be judged, in a line; whether nothing is over. */
export function judge(figures: readonly LimitFigure[]): { readonly kept: boolean; readonly verdict: string } {
  const judged = figures.filter(({ noisy }) => !noisy);
  const over = judged.filter(({ ratio, most }) => ratio > most).map(({ name }) => name);
  const noisy = figures.length - judged.length;
  const rest = noisy > 0 ? `; ${noisy} of ${figures.length} too noisy to be judged` : "";
  const verdict = over.length > 0 ? `over their limits: ${over.join("; ")}` : "nothing over its limit";
  return { kept: over.length === 0, verdict: `${verdict}${rest}` };
}

/** The engine's work on 128 MiB against what it may take: ratios to memory.copy of the input. */
export async function benchLimits(context: Context): Promise<LimitFigure[]> {
  const bed = await context.bed();
  const plan = plans[context.quick ? "quick" : "full"];
  const figures: LimitFigure[] = [];
  for (const limit of limits) {
    context.progress(limit.name);
    const ground = groundOf(bed, limit.shape);
    try {
      figures.push(await measureLimit(bed, ground, limit, plan));
    } finally {
      ground.free();
    }
  }
  context.print(`${formatTable([headings, ...figures.map(lineOf)])}\n`);
  return figures;
}
