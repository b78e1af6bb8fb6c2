import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { checkGranularity, type Granularity, layoutOf } from "../../src/engine/tensors/granularity.ts";
import { elementsOf } from "../../src/engine/tensors/shape.ts";
import { chunkingOf, chunksOf } from "../../src/engine/tiling/chunks.ts";
import { createEngine } from "../../src/index.ts";
import { differenceOf } from "../helpers/onnx-values.ts";
import { normals, randomOf } from "../helpers/random.ts";

const engine = await createEngine();

/** A shape, a granularity it allows, and how small windows are to be. */
const cases = fc
  .array(fc.integer({ min: 1, max: 7 }), { minLength: 1, maxLength: 4 })
  .chain((shape) =>
    fc.record({
      shape: fc.constant(shape),
      most: fc.integer({ min: 1, max: 60 }),
      granularity: fc.oneof(
        fc.constant({}),
        fc.nat(shape.length - 1).map((axis) => ({ axis })),
        fc.tuple(fc.nat(shape.length - 1), fc.nat(shape.length - 1)).map(([a, b]) => ({
          axis: [Math.min(a, b), Math.max(a, b)] as [number, number],
        })),
        fc.record({ axis: fc.nat(shape.length - 1), blockSize: fc.integer({ min: 1, max: 9 }) }),
      ),
    }),
  )
  .map(({ granularity, ...rest }) => ({ ...rest, granularity: checkGranularity(rest.shape, granularity) }));

/** The parameter of each element, by definition. */
function parametersByElement(shape: readonly number[], { axis, blockSize }: Granularity): number[] {
  const [first, last] = axis === undefined ? [-1, -2] : typeof axis === "number" ? [axis, axis] : axis;
  return Array.from({ length: elementsOf(shape) }, (_, element) => {
    let left = element;
    const index = shape.toReversed().map((d) => {
      const i = left % d;
      left = Math.floor(left / d);
      return i;
    });
    index.reverse();
    return index.reduce((at, i, a) => {
      if (a >= first && a <= last) {
        const size = blockSize ?? 1;
        return at * Math.ceil(shape[a]! / size) + Math.floor(i / size);
      }
      return blockSize === undefined ? at : at * shape[a]! + i;
    }, 0);
  });
}

describe("windows", () => {
  it("cover a tensor in order, each a tensor of its own with the parameters of its elements", () => {
    fc.assert(
      fc.property(cases, ({ shape, granularity, most }) => {
        const cut = chunkingOf(shape, granularity, most);
        const expected = parametersByElement(shape, granularity);
        let at = 0;
        const ofGroup = new Map<number, number>();
        let straddles = false;
        const windows = [...chunksOf(cut)];
        expect(windows.length).toBe(cut.count);
        // Held against each other at once: each call of expect costs more than what it compares here.
        const found: unknown[] = [];
        const wanted: unknown[] = [];
        windows.forEach((window, w) => {
          found.push(window.start, window.length);
          wanted.push(at, elementsOf(window.shape));
          at += window.length;
          const own = parametersByElement(window.shape, granularity);
          found.push(layoutOf(window.shape, granularity).parameters);
          wanted.push(window.count);
          const groups = expected.slice(window.start, window.start + window.length);
          found.push(own.length, ...own.map((p) => window.first + p));
          wanted.push(groups.length, ...groups);
          groups.forEach((group) => {
            straddles ||= (ofGroup.get(group) ?? w) !== w;
            ofGroup.set(group, w);
          });
        });
        expect(found).toEqual(wanted);
        expect(at).toBe(expected.length);
        expect(cut.holdsGroups).toBe(!straddles);
      }),
      { numRuns: 3000 },
    );
  });

  it("keep to their size, but for a single index or a scalar", () => {
    fc.assert(
      fc.property(cases, ({ shape, granularity, most }) => {
        const lengths = [...chunksOf(chunkingOf(shape, granularity, most))].map(({ length }) => length);
        expect(Math.max(...lengths)).toBeLessThanOrEqual(most);
      }),
    );
    expect([...chunksOf(chunkingOf([], {}))]).toEqual([{ start: 0, length: 1, shape: [], first: 0, count: 1 }]);
  });

  it("are as large in blocks that are larger than they are, whatever their size", () => {
    for (const blockSize of [1_048_583, 2 ** 31 - 1, 2_097_151]) {
      expect(chunkingOf([3_000_000], { axis: 0, blockSize }).count).toBeLessThanOrEqual(5);
    }
  });

  it("begin where a byte of 4-bit codes does, where rows let them", () => {
    for (const shape of [[64, 300], [9, 8, 33], [1001]]) {
      for (const { start } of chunksOf(chunkingOf(shape, {}, 100))) expect(start % 2).toBe(0);
    }
  });

  it("are empty where the tensor is", () => {
    const windows = [...chunksOf(chunkingOf([3, 0, 5], { axis: 0 }))];
    expect(windows.reduce((sum, { length }) => sum + length, 0)).toBe(0);
  });
});

describe("a tensor of several windows", () => {
  const shape = [2100, 1027];
  const data = normals(randomOf(11), 2100 * 1027);
  const granularities = [{}, { axis: 0 }, { axis: 1 }, { axis: 0, blockSize: 64 }, { axis: 1, blockSize: 50 }] as const;

  it.each(granularities)(
    "is quantized and measured as one after the other, and window by window, %j",
    (granularity) => {
      const options = { dtype: "int8", ...granularity } as const;
      const resident = engine.allocate("float32", shape);
      resident.data.set(data);
      const { q, loss, sums } = engine.quantizeWithError(resident, options);
      const alone = engine.quantize({ data, shape }, options);
      expect(differenceOf(q.data, alone.data)).toBeUndefined();
      expect(q.scale).toEqual(alone.scale);
      expect(engine.error({ data, shape }, alone)).toMatchObject(loss);

      const windows = [...chunksOf(chunkingOf(shape, checkGranularity(shape, granularity)))];
      expect(windows.length).toBeGreaterThan(1);
      let squared = 0;
      for (const { start, length, shape: part, first, count } of windows) {
        const own = engine.quantizeWithError(
          { data: data.subarray(start, start + length), shape: part },
          { ...options, scale: alone.scale.subarray(first, first + count) },
        );
        expect(differenceOf(own.q.data, alone.data.subarray(start, start + length))).toBeUndefined();
        squared += own.sums.squared;
      }
      expect(squared).toBe(sums.squared);
      resident.dispose();
    },
  );
});
