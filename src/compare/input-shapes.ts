import type { ModelValueInfo } from "./model-runtime.ts";
import { isFloat } from "./tensor-values.ts";

/** What a dimension's name says of its size, first match first: a cache is empty, a picture has three colours. */
const sizes: readonly (readonly [name: RegExp, size: number])[] = [
  [/past|cache/i, 0],
  [/batch|^(n|b|bs)$/i, 1],
  [/channel/i, 3],
  [/height|width|^[hw]$/i, 224],
  [/seq|len|token|time|frame/i, 16],
];

const BATCH = 1;
const OTHER = 8;

/** A second of sound: models of it refuse a few samples. */
const SAMPLES = 16_000;

/**
 * A shape for each input, where the model leaves dimensions open; the same name has the same size everywhere. See
 * `randomFeeds` for the rules.
 */
export function shapesOf(inputs: readonly ModelValueInfo[]): number[][] {
  const known = new Map<string, number>();
  for (const name of inputs.filter(isWaveform).map(({ shape }) => shape.at(-1) as string)) known.set(name, SAMPLES);
  const sizeOf = (name: string, axis: number): number => {
    if (name.includes("+")) return name.split("+").reduce((sum, term) => sum + sizeOf(term.trim(), 1), 0);
    if (/^\d+$/.test(name)) return Number(name);
    const size = known.get(name) ?? sizes.find(([pattern]) => pattern.test(name))?.[1] ?? (axis === 0 ? BATCH : OTHER);
    if (name !== "") known.set(name, size);
    return size;
  };
  return inputs.map(({ shape }) => shape.map((size, axis) => (typeof size === "number" ? size : sizeOf(size, axis))));
}

/** Sound comes as floats, samples alone or in a batch; features of tokens or frames have a dimension more. */
function isWaveform({ name, dtype, shape }: ModelValueInfo): boolean {
  const last = shape.at(-1);
  if (!isFloat(dtype) || shape.length > 2 || typeof last !== "string" || /mask/i.test(name)) return false;
  return /seq|sample|audio|time/i.test(last) && !/past|cache/i.test(last);
}
