import { expect, it } from "vitest";
import {
  distance,
  type FeedSpec,
  feed,
  floatsOf,
  type ModelSpec,
  raised,
  runModel,
  tensor,
  writeSpec,
} from "./opset-models.ts";
import { normals, randomOf } from "./random.ts";

// Models of a few nodes: what ONNX Runtime gives for them as they are, it gives for them raised, to the bit.

/** The newest that ONNX Runtime 1.30 takes. */
export const NEWEST_OF_RUNTIME = 26;

const volume = (dims: readonly number[]) => dims.reduce((a, b) => a * b, 1);

export const random = (seed: number, ...dims: number[]) =>
  feed("float32", dims, [...normals(randomOf(seed), volume(dims))]);

export const weights = (seed: number, ...dims: number[]) =>
  tensor("float32", dims, [...normals(randomOf(seed), volume(dims), 0.5)]);

export const counting = (...dims: number[]) =>
  feed(
    "float32",
    dims,
    Array.from({ length: volume(dims) }, (_, i) => i + 1),
  );

export interface Fixture extends ModelSpec {
  readonly feeds: FeedSpec;
  /** Of opsets that the runtime has no kernels for: the float32 output y. */
  readonly expected?: readonly number[];
  /** Where the runtime has no kernels beyond. */
  readonly upTo?: number;
  /** The runtime's kernel is another from this opset on, and adds in another order. */
  readonly inexactFrom?: number;
}

export type Fixtures = Readonly<Record<string, Fixture>>;

/** An input of four dimensions, an output, and something to feed. */
export const x4 = { x: "float32[1,2,4,5]" } as const;
export const y = { y: "float32" } as const;
export const fed4 = { x: random(1, 1, 2, 4, 5) };
export const common = { inputs: x4, outputs: y, feeds: fed4 } as const;

/** A test for each: raised to every opset that the runtime takes. */
export function itGivesTheSame(fixtures: Fixtures): void {
  it.each(Object.entries(fixtures))("%s", async (_, fixture) => {
    const { feeds, expected, upTo = NEWEST_OF_RUNTIME, inexactFrom = Number.POSITIVE_INFINITY, ...spec } = fixture;
    const before = expected ? undefined : await runModel(writeSpec(spec), feeds);
    const first = Math.max(spec.opset + 1, expected ? (spec.opset >= 18 ? 21 : 7) : 0);
    for (let opset = first; opset <= upTo; opset++) {
      const { bytes } = await raised(spec, opset);
      const after = await runModel(bytes, feeds).catch((error: Error) => {
        throw new Error(`opset ${opset}: ${error.message}`);
      });
      if (before)
        expect(distance(before, after), `opset ${opset}`).toBeLessThanOrEqual(opset >= inexactFrom ? 1e-6 : 0);
      for (const [i, value] of (expected ?? []).entries()) expect(floatsOf(after, "y")[i]).toBeCloseTo(value, 4);
    }
  });
}
