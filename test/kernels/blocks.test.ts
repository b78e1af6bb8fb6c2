import { describe, expect, it } from "vitest";
import { type CodeDType, codeTypes } from "../../src/dtypes.ts";
import { levelsOf, parametersOf, type SchemeName } from "../../src/engine/tensors/schemes.ts";
import type { Rows } from "../../src/kernels/abi.ts";
import { between, mixed, normals, randomOf } from "../helpers/random.ts";
import { expectSame, given, sides, written } from "./parts.ts";

const types = { I4: "int4", U4: "uint4", I8: "int8", U8: "uint8" } as const satisfies Record<string, CodeDType>;
const names = Object.keys(types) as (keyof typeof types)[];

interface Case {
  readonly name: (typeof names)[number];
  readonly shape: Rows;
  readonly scheme: SchemeName;
  readonly reduceRange: boolean;
}

/** What kernels take for a scheme. */
function ruleOf({ name, scheme, reduceRange }: Case): [rule: number, qmin: number, qmax: number] {
  const { qmin, qmax } = levelsOf({ dtype: types[name], scheme, reduceRange });
  return [scheme === "asymmetric" ? 0 : name === "I4" ? 2 : 1, qmin, qmax];
}

const lengthOf = ([outer, groups, inner, last]: Rows) => outer * ((groups - 1) * inner + last);

/** Values whose blocks differ; with ties, zeros, numbers near the ends of float32 among them. */
function valuesOf(random: () => number, n: number, inner: number): Float32Array {
  const kind = between(random, 0, 5);
  if (kind === 0) return normals(random, n, 0.05);
  if (kind === 1) return Float32Array.from({ length: n }, () => between(random, -16, 16) / 2);
  if (kind === 2)
    return Float32Array.from({ length: n }, () => [0, -0, 1e-45, -3e-42, 1.2e-38][between(random, 0, 4)]!);
  if (kind === 3) {
    const sizes = [1e-38, 4e-38, 1e-30, 1, 1e30, 3.4e38];
    return Float32Array.from(
      { length: n },
      (_, i) => (2 * random() - 1) * sizes[Math.floor(i / inner) % sizes.length]!,
    );
  }
  if (kind === 4) return Float32Array.from({ length: n }, (_, i) => random() + (Math.floor(i / inner) % 3) - 2);
  return mixed(random, n);
}

function expectReference(one: Case, x: Float32Array): void {
  const { name, shape } = one;
  const [outer, groups, , , step] = shape;
  const parameters = written(4 * ((outer - 1) * step + groups));
  const codes = written(Math.ceil(lengthOf(shape) * (codeTypes[types[name]].bits / 8)));
  expectSame(JSON.stringify(one), [given(x), codes, parameters, parameters], (kernels, [src, dst, scales, zeros]) =>
    kernels[`blocksF32${name}`](src!, dst!, scales!, zeros!, ...ruleOf(one), ...shape),
  );
}

function shapeOf(random: () => number, inners: readonly number[], even: boolean): Rows {
  const outer = between(random, 1, 4);
  const groups = between(random, 1, 11);
  const inner = inners[between(random, 0, inners.length - 1)]!;
  let last = random() < 0.5 ? inner : between(random, 1, inner);
  if (even && outer > 1) last += last % 2;
  return [outer, groups, inner, last, groups];
}

describe.each(names)("blocksF32%s", (name) => {
  it("equals its reference at every length of a run", () => {
    const random = randomOf(1);
    for (let n = 1; n <= 130; n++) {
      for (const scheme of ["asymmetric", "symmetric"] as const) {
        expectReference({ name, scheme, reduceRange: n % 3 === 0, shape: [1, 1, n, n, 1] }, valuesOf(random, n, n));
      }
    }
  });

  it("equals its reference over outers and groups, with a short last one or none", () => {
    const random = randomOf(2);
    for (let round = 0; round < 300; round++) {
      const shape = shapeOf(random, [2, 8, 16, 20, 32, 48, 64, 128], name.endsWith("4"));
      const scheme = round % 2 ? "asymmetric" : "symmetric";
      const x = valuesOf(random, lengthOf(shape), shape[2]);
      expectReference({ name, scheme, reduceRange: random() < 0.3, shape }, x);
    }
  });

  it("finds what the schemes make of each range", () => {
    const random = randomOf(3);
    const { memory, kernels } = sides().simd;
    for (let round = 0; round < 60; round++) {
      const groups = between(random, 1, 70);
      const one: Case = {
        name,
        scheme: round % 2 ? "asymmetric" : "symmetric",
        reduceRange: random() < 0.3,
        shape: [1, groups, 32, 32, groups],
      };
      const x = valuesOf(random, 32 * groups, 32);
      const ranges = { min: new Float32Array(groups), max: new Float32Array(groups) };
      for (let g = 0; g < groups; g++) {
        const run = x.subarray(32 * g, 32 * g + 32);
        ranges.min[g] = Math.min(...run) + 0;
        ranges.max[g] = Math.max(...run) + 0;
      }
      const { values, codes, first, second } = memory.tiles;
      memory.view(Float32Array, values, x.length).set(x);
      expect(kernels[`blocksF32${name}`](values, codes, first, second, ...ruleOf(one), ...one.shape)).toBe(0);
      const expected = parametersOf(ranges, { ...one, dtype: types[name], blocks: true });
      expect(memory.view(Float32Array, first, groups).slice()).toEqual(expected.scale);
      expect(memory.view(Int32Array, second, groups).slice()).toEqual(expected.zeroPoint);
    }
  });

  it("tells of one NaN or infinity anywhere, and of none where values add up to more than float32 holds", () => {
    const random = randomOf(4);
    const { memory, kernels } = sides().simd;
    const { values, codes, first, second } = memory.tiles;
    for (let round = 0; round < 100; round++) {
      const shape = shapeOf(random, [2, 16, 20, 32], true);
      const n = lengthOf(shape);
      const x = Float32Array.from({ length: n }, () => 3.4e38 * random());
      const flag = () => {
        memory.view(Float32Array, values, n).set(x);
        return kernels[`blocksF32${name}`](values, codes, first, second, 0, 0, 15, ...shape) !== 0;
      };
      expect(flag()).toBe(false);
      x[between(random, 0, n - 1)] = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY][round % 3]!;
      expect(flag()).toBe(true);
    }
  });
});
