import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import sharp, { type Sharp } from "sharp";
import { originalName } from "./models.ts";
import { sharedData } from "./needs.ts";
import type { Feed, Session } from "./sessions.ts";

const folder = sharedData.images.path;

export interface Labelled {
  /** One image each, of as many as were asked for. */
  readonly feeds: readonly Feed[];
  /** The class of each. */
  readonly labels: Int32Array;
}

/** Bytes of pixels, and what they show. */
interface Picture {
  readonly pixels: Uint8Array;
  readonly label: number;
}

const DIGIT = 28 * 28;

/** MNIST digits, a byte a pixel. */
function digits(): Picture[] {
  const images = idx("mnist-2000-images.idx3-ubyte", 16);
  const labels = idx("mnist-2000-labels.idx1-ubyte", 8);
  return Array.from(labels, (label, i) => ({
    pixels: images.subarray(i * DIGIT, (i + 1) * DIGIT),
    label,
  }));
}

/** What follows the header of an idx file. */
function idx(name: string, header: number): Uint8Array {
  return new Uint8Array(readFileSync(join(folder, name))).subarray(header);
}

/** CIFAR-10 photos, 32 x 32 RGB: one of each class, then the next of each, so that any number of them has all classes. */
async function smallPhotos(): Promise<Picture[]> {
  const classes = readdirSync(join(folder, "cifar10")).sort();
  const files = classes.flatMap((name, label) =>
    readdirSync(join(folder, "cifar10", name))
      .sort()
      .map((file, turn) => ({ path: join(folder, "cifar10", name, file), label, turn })),
  );
  const inTurn = files.sort((a, b) => a.turn - b.turn || a.label - b.label);
  return Promise.all(inTurn.map(async ({ path, label }) => ({ pixels: await rgb(sharp(path)), label })));
}

/** Nobody says how SqueezeNet's photos are to be scaled, and 80 of them are few: each is there once for each way. */
const kernels = ["linear", "cubic", "lanczos3"] as const;

/** ImageNet photos, RGB: the shorter side made 256, then the 224 x 224 pixels in the middle. */
async function photos(): Promise<Picture[]> {
  const rows = readFileSync(join(folder, "imagenet/labels.tsv"), "utf8").trim().split("\n");
  return Promise.all(
    kernels.flatMap((kernel) =>
      rows.map(async (row) => {
        const [name, , label] = row.split("\t");
        return { pixels: await middleOf(join(folder, "imagenet", name!), kernel), label: Number(label) };
      }),
    ),
  );
}

async function middleOf(path: string, kernel: (typeof kernels)[number]): Promise<Uint8Array> {
  const { width, height } = await sharp(path).metadata();
  const ratio = 256 / Math.min(width, height);
  const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
  const centre = { left: (w - 224) >> 1, top: (h - 224) >> 1, width: 224, height: 224 };
  return rgb(sharp(path).resize(w, h, { kernel, fit: "fill" }).extract(centre));
}

/** A photo squeezed into `width` x `height`, RGB; the same one each time. */
export async function photoOf(index: number, width: number, height: number): Promise<Uint8Array> {
  const files = readdirSync(join(folder, "imagenet")).filter((name) => name.endsWith(".JPEG"));
  return rgb(sharp(join(folder, "imagenet", files.sort()[index]!)).resize(width, height, { fit: "fill" }));
}

/** Colours whatever the file has, a byte each, pixel by pixel. */
async function rgb(image: Sharp): Promise<Uint8Array> {
  return new Uint8Array(await image.removeAlpha().toColourspace("srgb").raw().toBuffer());
}

/** Planes one after the other, as networks in NCHW take them: `value` makes of a colour what they want. */
export function planesOf(pixels: Uint8Array, order: "RGB" | "BGR", value: (x: number, plane: number) => number) {
  const size = pixels.length / 3;
  const planes = new Float32Array(3 * size);
  for (let plane = 0; plane < 3; plane++) {
    const colour = order === "RGB" ? plane : 2 - plane;
    for (let i = 0; i < size; i++) planes[plane * size + i] = value(pixels[3 * i + colour]!, plane);
  }
  return planes;
}

const means = [104, 117, 123];

function asSqueezenetTakes({ pixels }: Picture): Feed {
  return { data: planesOf(pixels, "BGR", (x, plane) => x - means[plane]!), dims: [1, 3, 224, 224] };
}

/** How a network is judged by pictures. */
export interface Evaluator {
  /** How many pictures there are. */
  readonly count: number;
  /** The share of right answers in float, over all of them: MANIFEST.md has it over larger sets. */
  readonly accuracy: number;
  /** The first `limit` pictures; all are read once. */
  inputs(limit?: number): Promise<Labelled>;
  /** Its answers: a class for each of the first `limit` pictures. */
  predictions(session: Session, limit?: number): Promise<Int32Array>;
}

// Half floats come from sessions.ts: one evaluator, and one decoding of the photos, for both.
const squeezenet = evaluator({ count: 240, accuracy: 0.625, read: photos, feed: asSqueezenetTakes });

export const evaluators = {
  mnist_cnn: evaluator({
    ...{ count: 2000, accuracy: 0.984, read: digits },
    feed: ({ pixels }) => ({ data: Float32Array.from(pixels), dims: [1, 1, 28, 28] }),
  }),
  mnist_mlp_256x2: evaluator({
    ...{ count: 2000, accuracy: 0.974, read: digits },
    feed: ({ pixels }) => ({ data: Float32Array.from(pixels, (x) => x / 255), dims: [1, 784, 1] }),
  }),
  cifar10_small: evaluator({
    ...{ count: 300, accuracy: 0.617, read: smallPhotos },
    feed: ({ pixels }) => ({ data: Float32Array.from(pixels, (x) => x / 255), dims: [1, 32, 32, 3] }),
  }),
  squeezenet_fp32: squeezenet,
  squeezenet_fp16: squeezenet,
} as const;

export type EvaluatedModel = keyof typeof evaluators;

/** The evaluator for a model by its file's name, which may say that it was converted to another opset. */
export function evaluatorFor(model: string): Evaluator | undefined {
  const name = originalName(model);
  return name in evaluators ? evaluators[name as EvaluatedModel] : undefined;
}

interface Recipe {
  readonly count: number;
  readonly accuracy: number;
  read(): Picture[] | Promise<Picture[]>;
  feed(picture: Picture): Feed;
}

function evaluator({ count, accuracy, read, feed }: Recipe): Evaluator {
  const load = async (): Promise<Labelled> => {
    const pictures = await read();
    return { feeds: pictures.map(feed), labels: Int32Array.from(pictures, ({ label }) => label) };
  };
  let all: Promise<Labelled> | undefined;
  const inputs = async (limit = count): Promise<Labelled> => {
    all ??= load();
    const { feeds, labels } = await all;
    return { feeds: feeds.slice(0, limit), labels: labels.slice(0, limit) };
  };
  return {
    count,
    accuracy,
    inputs,
    async predictions(session, limit) {
      const { feeds } = await inputs(limit);
      const [input, output] = [session.inputs[0]!.name, session.outputs[0]!.name];
      const answers = new Int32Array(feeds.length);
      for (const [i, feed] of feeds.entries()) {
        const results = await session.run({ [input]: feed });
        answers[i] = highest(results[output]!.data as Float32Array);
      }
      return answers;
    },
  };
}

function highest(scores: Float32Array): number {
  return scores.reduce((best, score, i) => (score > scores[best]! ? i : best), 0);
}

/** The share of answers that are the same: of two models, or of a model and the labels. */
export function agreement(a: Int32Array, b: Int32Array): number {
  if (a.length !== b.length) throw new Error(`${a.length} answers against ${b.length}`);
  return a.filter((answer, i) => answer === b[i]).length / a.length;
}
