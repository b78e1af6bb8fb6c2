import { elementsOf } from "../src/engine/tensors/shape.ts";
import { type ConvLayout, quantizeConv } from "../src/layers/conv.ts";
import type { ResidentLayer, ResidentQuantizedLayer } from "../src/layers/layer.ts";
import { type LinearLayout, quantizeLinear } from "../src/layers/linear.ts";
import { type BenchMemory, groundOf } from "./bench-memory.ts";
import type { Context } from "./context.ts";
import { batchOf, formatNumber, formatTable, isNoisy, markOf, measure, rateOf, ratioOf } from "./harness.ts";
import { blocks } from "./kernel-data.ts";
import { paces } from "./measure-kernel.ts";
import * as plain from "./plain-loops.ts";

const INPUT_SCALE = 0.02;

/** Milliseconds: each layout runs through code of its own, which V8 has to come to know. */
const WARMUP = 100;

interface Case {
  readonly layer: "conv" | "linear";
  readonly layout: ConvLayout | LinearLayout;
  readonly shape: readonly number[];
  /** How many output channels there are, and how many elements lie behind each in a row of them. */
  readonly channels: number;
  readonly inner: number;
}

function conv(layout: ConvLayout, shape: readonly number[], channels: number, inner: number): Case {
  return { layer: "conv", layout, shape, channels, inner };
}

function linear(layout: LinearLayout, channels: number, inner: number): Case {
  return { layer: "linear", layout, shape: [4096, 4096], channels, inner };
}

/** 5 MB of float32 and more, so that what a call costs by itself does not count. */
const cases: readonly Case[] = [
  conv("OIHW", [512, 512, 3, 3], 512, 512 * 9),
  conv("OHWI", [512, 3, 3, 512], 512, 9 * 512),
  conv("HWIO", [3, 3, 512, 512], 512, 1),
  conv("IOHW", [512, 512, 3, 3], 512, 9),
  conv("HWCM", [27, 27, 1024, 2], 2048, 1),
  conv("OIW", [1024, 1024, 3], 1024, 1024 * 3),
  conv("OIDHW", [256, 256, 3, 3, 3], 256, 256 * 27),
  linear("OI", 4096, 4096),
  linear("IO", 4096, 1),
];

interface LayerFigure {
  readonly name: string;
  readonly shape: readonly number[];
  readonly seconds: number;
  /** GB of float32 a second. */
  readonly rate: number;
  readonly spread: number;
  readonly ratio: number;
  readonly plainRate: number;
  readonly timesPlain: number;
  readonly noisy: boolean;
}

const headings = ["layer", "shape", "GB/s", "spread", "time/copy", "vs plain", "plain GB/s", ""];

function lineOf(figure: LayerFigure): string[] {
  const { name, shape, rate, spread, ratio, plainRate, timesPlain } = figure;
  return [
    name,
    shape.join(" x "),
    formatNumber(rate),
    `${spread.toFixed(1)} %`,
    ratio.toFixed(2),
    formatNumber(timesPlain),
    formatNumber(plainRate),
    markOf(figure),
  ];
}

function quantize({ engine }: BenchMemory, { layer, layout }: Case, tensors: ResidentLayer): ResidentQuantizedLayer {
  const how = { dtype: "int8", inputScale: INPUT_SCALE } as const;
  return layer === "conv"
    ? quantizeConv(engine, tensors, { ...how, layout: layout as ConvLayout })
    : quantizeLinear(engine, tensors, { ...how, layout: layout as LinearLayout });
}

async function measureLayer(bed: BenchMemory, each: Case, quick: boolean): Promise<LayerFigure> {
  const { layer, layout, shape, channels, inner } = each;
  const ground = groundOf(bed, shape);
  const bias = { data: blocks.others.slice(0, channels), shape: [channels] };
  const weight = ground.x;
  const run = () => {
    const q = quantize(bed, each, { weight, bias });
    q.weight.dispose();
    return q.weight.scale.length;
  };
  const values = weight.data.slice();
  const codes = new Int8Array(elementsOf(shape));
  const scales = new Float32Array(channels);
  const loop = () => {
    plain.perChannel(values, codes, scales, channels, inner);
    return 0;
  };
  try {
    const { bytes, copy } = ground;
    const { kernels, loops } = paces[quick ? "quick" : "full"];
    const plan = { ...kernels, calls: quick ? loops.calls : kernels.rounds, warmupTime: WARMUP };
    const timings = await measure({ copy, run, loop }, plan, batchOf(bytes));
    return {
      name: `${layer} ${layout}`,
      shape,
      seconds: timings.run.seconds,
      rate: rateOf(bytes, timings.run),
      spread: timings.run.spread,
      ratio: ratioOf(timings.run, timings.copy),
      plainRate: rateOf(bytes, timings.loop),
      timesPlain: ratioOf(timings.loop, timings.run),
      noisy: isNoisy(...Object.values(timings)),
    };
  } finally {
    ground.free();
  }
}

/** Weights per channel, resident, with a bias that becomes int32. */
export async function benchLayers(context: Context): Promise<LayerFigure[]> {
  const bed = await context.bed();
  const figures: LayerFigure[] = [];
  for (const each of cases) {
    context.progress(`${each.layer} ${each.layout}`);
    figures.push(await measureLayer(bed, each, context.quick));
  }
  context.print(`${formatTable([headings, ...figures.map(lineOf)])}\n`);
  return figures;
}
