import { attributeOf, type Node } from "../../ir/graph.ts";
import { reshaped } from "../../ir/views.ts";
import { type ConstantValue, integersOf, NotComputed, newValue } from "./constant-value.ts";
import { broadcastShape, indicesFor } from "./elementwise.ts";

/** Operators that lay numbers out otherwise, and compute none. */
type Movement = (node: Node, inputs: readonly (ConstantValue | undefined)[]) => readonly ConstantValue[];

const reshape: Movement = (node, [value, second]) => {
  const x = needed(value);
  const shape = reshaped(node, x.shape, () => integersOf(second));
  if (!shape || newLength(shape) !== x.data.length) throw new NotComputed("a shape that is not known");
  return [{ ...x, shape }];
};

export const movements: Readonly<Record<string, Movement>> = {
  Identity: (_, [value]) => [needed(value)],
  ...{ Reshape: reshape, Squeeze: reshape, Unsqueeze: reshape, Flatten: reshape },

  Transpose(node, [value]) {
    const x = needed(value);
    return [transposed(x, attributeOf(node, "perm", "ints") ?? x.shape.map((_, i) => x.shape.length - 1 - i))];
  },

  Trilu(node, [value, diagonal]) {
    const x = needed(value);
    const [rows = 0, columns = 0] = x.shape.slice(-2);
    if (x.shape.length < 2) throw new NotComputed("a shape that is none of matrices");
    const k = diagonal ? (integersOf(diagonal)?.[0] ?? Number.NaN) : 0;
    if (Number.isNaN(k)) throw new NotComputed("a diagonal that is not known");
    const isUpper = (attributeOf(node, "upper", "int") ?? 1) !== 0;
    const result = newValue(x.type, x.shape);
    for (let i = 0; i < x.data.length; i++) {
      const distance = (i % columns) - (Math.floor(i / columns) % rows);
      if (isUpper ? distance >= k : distance <= k) result.data[i] = x.data[i]!;
    }
    return [result];
  },

  Slice(node, [value, startsInput, endsInput, axesInput, stepsInput]) {
    const x = needed(value);
    const starts = attributeOf(node, "starts", "ints") ?? integersOf(startsInput);
    const ends = attributeOf(node, "ends", "ints") ?? integersOf(endsInput);
    if (!starts || !ends) throw new NotComputed("bounds that are not known");
    const axes = attributeOf(node, "axes", "ints") ?? integersOf(axesInput) ?? starts.map((_, i) => i);
    const steps = integersOf(stepsInput) ?? starts.map(() => 1);
    const shape = [...x.shape];
    const strides = [...stridesOf(x.shape)];
    let offset = 0;
    axes.forEach((given, i) => {
      const axis = axisOf(given, x.shape.length);
      const [from, count, step] = rangeOf(starts[i]!, ends[i]!, steps[i]!, x.shape[axis]!);
      offset += from * strides[axis]!;
      shape[axis] = count;
      strides[axis]! *= step;
    });
    return [picked(x, shape, strides, offset)];
  },

  Concat(node, inputs) {
    const values = inputs.map(needed);
    const [first] = values;
    const axis = axisOf(attributeOf(node, "axis", "int") ?? 1, needed(first).shape.length);
    const others = (shape: readonly number[]) => shape.filter((_, i) => i !== axis).join();
    if (!first || values.some((x) => x.type !== first.type || others(x.shape) !== others(first.shape))) {
      throw new NotComputed("shapes that do not go together");
    }
    const shape = first.shape.map((d, i) => (i === axis ? values.reduce((sum, x) => sum + x.shape[axis]!, 0) : d));
    const result = newValue(first.type, shape);
    const outer = newLength(shape.slice(0, axis));
    let at = 0;
    for (let row = 0; row < outer; row++) {
      for (const { data } of values) {
        const run = data.length / outer;
        result.data.set(data.subarray(row * run, (row + 1) * run), at);
        at += run;
      }
    }
    return [result];
  },

  Split(node, [value, sizesInput]) {
    const x = needed(value);
    const axis = axisOf(attributeOf(node, "axis", "int") ?? 0, x.shape.length);
    const total = x.shape[axis]!;
    const count = attributeOf(node, "num_outputs", "int") ?? node.outputs.length;
    const even = Math.ceil(total / count);
    const sizes =
      attributeOf(node, "split", "ints") ??
      integersOf(sizesInput) ??
      Array.from({ length: count }, (_, i) => Math.max(0, Math.min(even, total - i * even)));
    if (sizes.reduce((a, b) => a + b, 0) !== total || sizes.some((d) => d < 0))
      throw new NotComputed("sizes that do not add up");
    const strides = stridesOf(x.shape);
    let from = 0;
    return sizes.map((size) => {
      const shape = x.shape.map((d, i) => (i === axis ? size : d));
      const part = picked(x, shape, strides, from * strides[axis]!);
      from += size;
      return part;
    });
  },

  Expand(_, [value, shapeInput]) {
    const x = needed(value);
    const wanted = integersOf(shapeInput);
    if (!wanted) throw new NotComputed("a shape that is not known");
    const shape = broadcastShape(x.shape, wanted);
    const result = newValue(x.type, shape);
    const index = indicesFor(x.shape, shape);
    for (let i = 0; i < result.data.length; i++) result.data[i] = x.data[index(i)]!;
    return [result];
  },

  Tile(_, [value, repeatsInput]) {
    const x = needed(value);
    const repeats = integersOf(repeatsInput);
    if (repeats?.length !== x.shape.length) throw new NotComputed("repeats that are not known");
    const inner = [...stridesOf(x.shape)];
    // Each axis as two: its repeats, which do not move, and itself.
    const shape = x.shape.flatMap((d, i) => [repeats[i]!, d]);
    const tiled = picked(
      x,
      shape,
      inner.flatMap((stride) => [0, stride]),
    );
    return [{ ...tiled, shape: x.shape.map((d, i) => d * repeats[i]!) }];
  },

  Gather(node, [value, indicesInput]) {
    const x = needed(value);
    const indices = integersOf(indicesInput);
    if (!indices) throw new NotComputed("indices that are not known");
    const axis = axisOf(attributeOf(node, "axis", "int") ?? 0, x.shape.length);
    const length = x.shape[axis]!;
    const inner = newLength(x.shape.slice(axis + 1));
    const outer = newLength(x.shape.slice(0, axis));
    const shape = [...x.shape.slice(0, axis), ...indicesInput!.shape, ...x.shape.slice(axis + 1)];
    const result = newValue(x.type, shape);
    let at = 0;
    for (let row = 0; row < outer; row++) {
      for (const index of indices) {
        const own = index < 0 ? index + length : index;
        if (!(own >= 0 && own < length)) throw new NotComputed("an index beyond the table");
        const from = (row * length + own) * inner;
        result.data.set(x.data.subarray(from, from + inner), at);
        at += inner;
      }
    }
    return [result];
  },
};

/** @throws NotComputed where `perm` is not an order of the axes */
export function transposed(x: ConstantValue, perm: readonly number[]): ConstantValue {
  if ([...perm].sort((a, b) => a - b).join() !== x.shape.map((_, i) => i).join())
    throw new NotComputed("a perm that is not an order of the axes");
  const strides = stridesOf(x.shape);
  const shape = perm.map((axis) => x.shape[axis]!);
  return picked(
    x,
    shape,
    perm.map((axis) => strides[axis]!),
  );
}

function needed(value: ConstantValue | undefined): ConstantValue {
  if (!value) throw new NotComputed("an input is missing");
  return value;
}

export function axisOf(axis: number, rank: number): number {
  const own = axis < 0 ? axis + rank : axis;
  if (!(own >= 0 && own < rank)) throw new NotComputed("an axis that is not there");
  return own;
}

function newLength(shape: readonly number[]): number {
  return shape.reduce((product, dimension) => product * dimension, 1);
}

function stridesOf(shape: readonly number[]): readonly number[] {
  return shape.map((_, axis) => newLength(shape.slice(axis + 1)));
}

/** Slice's own rules: negative bounds count from the end, bounds beyond it are the end. */
function rangeOf(start: number, end: number, step: number, length: number): [from: number, count: number, by: number] {
  if (step === 0) throw new NotComputed("a step of 0");
  const place = (bound: number) => (bound < 0 ? bound + length : bound);
  const within = (bound: number, low: number, high: number) => Math.min(Math.max(place(bound), low), high);
  if (step > 0) {
    const from = within(start, 0, length);
    return [from, Math.max(0, Math.ceil((within(end, 0, length) - from) / step)), step];
  }
  const from = within(start, 0, length - 1);
  return [from, Math.max(0, Math.ceil((from - within(end, -1, length - 1)) / -step)), step];
}

/** The elements of a value that lie at these strides from `offset` on. */
function picked(x: ConstantValue, shape: readonly number[], strides: readonly number[], offset = 0): ConstantValue {
  const result = newValue(x.type, shape);
  const counter = shape.map(() => 0);
  const last = shape.length - 1;
  const run = shape[last] ?? 1;
  const step = strides[last] ?? 1;
  let from = offset;
  for (let at = 0; at < result.data.length; ) {
    for (let i = 0; i < run; i++) result.data[at++] = x.data[from + i * step]!;
    for (let axis = last - 1; axis >= 0; axis--) {
      from += strides[axis]!;
      if (++counter[axis]! < shape[axis]!) break;
      from -= strides[axis]! * shape[axis]!;
      counter[axis] = 0;
    }
  }
  return result;
}
