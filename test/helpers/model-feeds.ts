import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { evaluatorFor, photoOf, planesOf } from "./images.ts";
import { modelNeeds, originalName } from "./models.ts";
import { type Need, sharedData } from "./needs.ts";
import { between, normals, randomOf } from "./random.ts";
import type { Feed, Feeds, Outputs, Session } from "./sessions.ts";

const SAMPLES = 4;

/**
 * What the model may be run on to see what it gives: up to four sets, the same each time. Pictures where it was trained
 * on pictures, sums of tones with noise where on sound, states as they are somewhere in the middle.
 */
export async function feedsFor(model: string): Promise<readonly Feeds[]> {
  const name = originalName(model);
  const make = ofPhotos[name] ?? sets[name];
  if (make) return make();
  const evaluator = evaluatorFor(model);
  const input = pictureInputs[name];
  if (!evaluator || input === undefined) throw new Error(`no feeds for the model ${model}`);
  const { feeds } = await evaluator.inputs(SAMPLES);
  return feeds.map((feed) => ({ [input]: feed }));
}

/** What has to be there for a model and its feeds to be read. */
export function feedNeeds(model: string): readonly Need[] {
  const name = originalName(model);
  return name in pictureInputs || name in ofPhotos ? [...modelNeeds(model), sharedData.images] : modelNeeds(model);
}

const pictureInputs: Readonly<Record<string, string>> = {
  mnist_cnn: "Input3",
  mnist_mlp_256x2: "0",
  cifar10_small: "x:0",
  squeezenet_fp32: "data_0",
  squeezenet_fp16: "data_0",
};

type FeedSets = Readonly<Record<string, () => Promise<Feeds[]>>>;

const ofPhotos: FeedSets = { ultraface_rfb_320: ultraface, vww_96_bn: visualWakeWords };

const sets: FeedSets = {
  digits: carriedDigits,
  dtln_1: dtlnOfSpectra,
  dtln_2: dtlnOfSamples,
  silero_vad: silero,
  silero_vad_legacy: sileroLegacy,
  silero_vad_v5: silero,
  tiny_residual: tinyResidual,
  tiny_transformer: tinyTransformer,
};

async function ultraface(): Promise<Feeds[]> {
  const photos = await Promise.all([3, 12].map((index) => photoOf(index, 320, 240)));
  return photos.map((photo) => ({
    input: { data: planesOf(photo, "RGB", (x) => (x - 127) / 128), dims: [1, 3, 240, 320] },
  }));
}

async function visualWakeWords(): Promise<Feeds[]> {
  const photos = await Promise.all([3, 12, 40, 61].map((index) => photoOf(index, 96, 96)));
  return photos.map((photo) => ({ input: { data: planesOf(photo, "RGB", (x) => x / 255), dims: [1, 3, 96, 96] } }));
}

/** Images that the digit reader was not trained on, eight at a time. */
async function carriedDigits(): Promise<Feeds[]> {
  const HEADER = 128;
  const images = readFileSync(resolve(import.meta.dirname, "../../example/digits-images.npy")).subarray(HEADER);
  const [batch, pixels] = [8, 20 * 20];
  return seeds.map((seed) => ({
    image: {
      data: Float32Array.from(images.subarray(seed * batch * pixels, (seed + 1) * batch * pixels), (x) => x / 255),
      dims: [batch, 1, 20, 20],
    },
  }));
}

/** Its weights are random numbers, and so is what it is fed. */
async function tinyResidual(): Promise<Feeds[]> {
  return seeds.map((seed) => ({
    image: { data: normals(randomOf(seed), 3 * 32 * 32, 0.5), dims: [1, 3, 32, 32] },
  }));
}

/** Of a vocabulary of 50. */
async function tinyTransformer(): Promise<Feeds[]> {
  return seeds.map((seed) => {
    const random = randomOf(seed);
    return { ids: { data: BigInt64Array.from({ length: 9 }, () => BigInt(between(random, 0, 49))), dims: [1, 9] } };
  });
}

/** Of both rates, as it has weights for each, in one branch of an If: the window, and as much before it as it wants. */
async function silero(): Promise<Feeds[]> {
  const windows = [
    { rate: 16000, length: 512 + 64 },
    { rate: 8000, length: 256 + 32 },
  ];
  return windows.flatMap(({ rate, length }) =>
    [1, 2].map((seed) => ({
      input: { data: soundOf(seed, length, rate), dims: [1, length] },
      state: stateOf(seed, [2, 1, 128]),
      sr: { data: BigInt64Array.of(BigInt(rate)), dims: [] },
    })),
  );
}

/** The same windows with nothing before them, and the two states of an LSTM apart. */
async function sileroLegacy(): Promise<Feeds[]> {
  const windows = [
    { rate: 16000, length: 512 },
    { rate: 8000, length: 256 },
  ];
  return windows.flatMap(({ rate, length }) =>
    [1, 2].map((seed) => ({
      input: { data: soundOf(seed, length, rate), dims: [1, length] },
      sr: { data: BigInt64Array.of(BigInt(rate)), dims: [] },
      h: stateOf(seed, [2, 1, 64]),
      c: stateOf(10 + seed, [2, 1, 64]),
    })),
  );
}

async function dtlnOfSpectra(): Promise<Feeds[]> {
  return seeds.map((seed) => ({
    input_2: { data: magnitudesOf(soundOf(seed, 512, 16000)), dims: [1, 1, 257] },
    input_3: stateOf(seed, [1, 2, 128, 2]),
  }));
}

async function dtlnOfSamples(): Promise<Feeds[]> {
  return seeds.map((seed) => ({
    input_4: { data: soundOf(seed, 512, 16000), dims: [1, 1, 512] },
    input_5: stateOf(seed, [1, 2, 128, 2]),
  }));
}

const seeds = Array.from({ length: SAMPLES }, (_, i) => i + 1);

/** A voice of sorts: a tone, its overtones and a little noise. */
function soundOf(seed: number, length: number, rate: number): Float32Array {
  const random = randomOf(seed);
  const noise = normals(random, length, 0.01);
  const pitch = 100 + 150 * random();
  const overtones = Array.from({ length: 12 }, (_, i) => ({ size: (0.3 * random()) / (i + 1), phase: 6 * random() }));
  return noise.map((x, t) =>
    overtones.reduce(
      (sum, { size, phase }, i) => sum + size * Math.sin((2 * Math.PI * pitch * (i + 1) * t) / rate + phase),
      x,
    ),
  );
}

/** What recurrent layers hand on lies within one of zero. */
function stateOf(seed: number, dims: readonly number[]): Feed {
  const length = dims.reduce((a, b) => a * b, 1);
  return { data: normals(randomOf(100 + seed), length, 0.3).map(Math.tanh), dims };
}

/** The size of each frequency of `sound`, from none to half the rate. */
function magnitudesOf(sound: Float32Array): Float32Array {
  const n = sound.length;
  return Float32Array.from({ length: n / 2 + 1 }, (_, k) => {
    let [re, im] = [0, 0];
    for (let t = 0; t < n; t++) {
      const angle = (2 * Math.PI * k * t) / n;
      re += sound[t]! * Math.cos(angle);
      im -= sound[t]! * Math.sin(angle);
    }
    return Math.hypot(re, im);
  });
}

/** How far one run of a model is from another. */
export interface Difference {
  /** dB: signal over noise, Infinity where nothing differs. */
  readonly sqnr: number;
  readonly maxAbs: number;
}

export async function runAll(session: Session, feeds: readonly Feeds[]): Promise<Outputs[]> {
  const results: Outputs[] = [];
  for (const feed of feeds) results.push(await session.run(feed));
  return results;
}

/** Runs both on each of `feeds`: the difference of each output, over all of them. */
export async function compareRuns(
  float: Session,
  quantized: Session,
  feeds: readonly Feeds[],
): Promise<Record<string, Difference>> {
  return compareOutputs(await runAll(float, feeds), await runAll(quantized, feeds));
}

/** The same of runs that were made before. Of another shape, type or name, or not a number: an error. */
export function compareOutputs(float: readonly Outputs[], quantized: readonly Outputs[]): Record<string, Difference> {
  const names = Object.keys(float[0]!);
  return Object.fromEntries(names.map((name) => [name, differenceIn(name, float, quantized)]));
}

function differenceIn(name: string, float: readonly Outputs[], quantized: readonly Outputs[]): Difference {
  let [signal, noise, maxAbs] = [0, 0, 0];
  float.forEach((outputs, run) => {
    const [want, got] = [outputs[name]!, quantized[run]?.[name]];
    const form = `${want.type} [${want.dims}]`;
    if (!got || `${got.type} [${got.dims}]` !== form) throw new Error(`${name}: ${form} was wanted`);
    const values = got.data as Float32Array;
    (want.data as Float32Array).forEach((x, i) => {
      const error = Math.abs(x - values[i]!);
      if (Number.isNaN(error)) throw new Error(`${name}[${i}] of run ${run}: ${values[i]} where ${x} was wanted`);
      signal += x ** 2;
      noise += error ** 2;
      maxAbs = Math.max(maxAbs, error);
    });
  });
  return { sqnr: noise === 0 ? Number.POSITIVE_INFINITY : 10 * Math.log10(signal / noise), maxAbs };
}
