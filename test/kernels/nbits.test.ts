import { describe, expect, it } from "vitest";
import { bnb4Levels } from "../../src/engine/blockwise/quantize-bnb4.ts";
import type { Kernels } from "../../src/kernels/abi.ts";
import type { Platform } from "../helpers/platforms.ts";
import { between, mixed, nonFinite, normals, randomOf } from "../helpers/random.ts";
import { expectSame, given, sides, written, zeros } from "./parts.ts";

// Kernels over matrices against their references: the same matrix in two memories, then everything written compared,
// with what lies around it.

interface Matrix {
  readonly n: number;
  readonly k: number;
  readonly size: number;
  readonly columns: boolean;
  readonly stride: number;
}

function matrixOf(random: () => number, n: number, k: number, size: number): Matrix {
  const columns = random() < 0.5;
  return { n, k, size, columns, stride: (columns ? n : k) + between(random, 0, 3) };
}

const lengthOf = ({ n, k, columns, stride }: Matrix) => stride * (columns ? k : n);

/** Values of a block size apart in magnitude, so that blocks differ; with halves, zeros, subnormals mixed in. */
function valuesOf(random: () => number, matrix: Matrix, rounding: number): Float32Array {
  const n = lengthOf(matrix);
  // Scales beyond float16 make sums of NaN, whose bits are the processor's own.
  const kind = between(random, 0, rounding === 1 ? 3 : 4);
  if (kind === 0) return normals(random, n, 0.05);
  if (kind === 1) return Float32Array.from({ length: n }, () => between(random, -16, 16) / 2); // ties
  if (kind === 2) return Float32Array.from({ length: n }, () => [0, -0, 0, 1e-45, -3e-42][between(random, 0, 4)]!);
  if (kind === 3) return normals(random, n, 1e-7); // float16 scales that are subnormal
  return mixed(random, n);
}

const bitsOfAll = [2, 4, 8] as const;
const sizes = [16, 32, 64, 128, 256] as const;

describe.each(bitsOfAll)("%i bits", (bits) => {
  const partsOf = (matrix: Matrix, values: Float32Array) => {
    const { n, k, size } = matrix;
    const blocks = Math.ceil(k / size);
    return { blocks, parts: [given(values), written((n * blocks * size * bits) / 8)] };
  };

  const quantize = (matrix: Matrix, values: Float32Array, symmetric: number, rounding: number) => {
    const { n, k, size, columns, stride } = matrix;
    const { blocks, parts } = partsOf(matrix, values);
    const zeroPoints = written(n * Math.ceil((blocks * bits) / 8));
    for (const verb of ["quantize", "pack"] as const) {
      expectSame(
        `${verb} ${JSON.stringify(matrix)} symmetric ${symmetric} rounding ${rounding}`,
        [...parts, written(4 * n * blocks), zeroPoints, zeros(64 * n)],
        (kernels, [src, dst, scales, zeros, sums, scratch]) => {
          const kernel = kernels[`${verb}F32N${columns ? "Columns" : ""}`] as Kernels["packF32N"];
          const bad = kernel(
            src!,
            dst!,
            scales!,
            zeros!,
            sums!,
            scratch!,
            n,
            k,
            stride,
            size,
            bits,
            symmetric,
            rounding,
          );
          if (verb === "pack") expect(Boolean(bad)).toBe(false);
        },
      );
    }
  };

  it("found and written at every small size", () => {
    const random = randomOf(bits);
    for (let k = 1; k <= 70; k++) {
      for (const symmetric of [0, 1]) {
        const matrix = matrixOf(random, between(random, 1, 9), k, k < 40 ? 16 : 32);
        const rounding = between(random, 0, 2);
        quantize(matrix, valuesOf(random, matrix, rounding), symmetric, rounding);
      }
    }
  });

  it("found and written at every block size", () => {
    const random = randomOf(10 + bits);
    for (const size of sizes) {
      for (let round = 0; round < 6; round++) {
        const matrix = matrixOf(random, between(random, 1, 21), between(random, 1, 3 * size + 1), size);
        const rounding = between(random, 0, 2);
        quantize(matrix, valuesOf(random, matrix, rounding), round % 2, rounding);
      }
    }
  });

  it("written with scales and zero points given, zero points that are no whole numbers, too", () => {
    const random = randomOf(20 + bits);
    for (const size of sizes) {
      for (let round = 0; round < 6; round++) {
        const matrix = matrixOf(random, between(random, 1, 11), between(random, 1, 2 * size + 9), size);
        const { n, k, columns, stride } = matrix;
        const { blocks, parts } = partsOf(matrix, valuesOf(random, matrix, 0));
        const scales = normals(random, n * blocks, 0.1).map((s) => (random() < 0.1 ? 0 : s));
        const zeroPoints = scales.map(() => (round % 2 ? between(random, 0, 2 ** bits - 1) : random() * 2 ** bits));
        expectSame(
          JSON.stringify(matrix),
          [...parts, given(scales), given(zeroPoints), zeros(64 * n)],
          (kernels, [src, dst, s, z, sums, scratch]) => {
            const kernel = kernels[`encodeF32N${columns ? "Columns" : ""}`];
            kernel(src!, dst!, s!, z!, sums!, scratch!, n, k, stride, size, bits);
          },
        );
      }
    }
  });

  it("one NaN or infinity anywhere is told, sums beyond float32 are none", () => {
    const random = randomOf(50 + bits);
    const flagOf = ({ memory, kernels }: Platform, { n, k, size, columns, stride }: Matrix, x: Float32Array) => {
      const src = memory.allocate(1 << 18);
      memory.view(Float32Array, src, x.length).set(x);
      const rest = src + 4 * x.length;
      const at = [1, 2, 3, 4, 5].map((part) => src + part * (1 << 15)) as [number, number, number, number, number];
      expect(rest).toBeLessThan(at[0]);
      const kernel = kernels[`packF32N${columns ? "Columns" : ""}`];
      const bad = kernel(src, ...at, n, k, stride, size, bits, 1, 0);
      memory.free(src);
      return Boolean(bad);
    };
    for (let i = 0; i < 60; i++) {
      const matrix = matrixOf(random, between(random, 1, 9), between(random, 1, 100), 16);
      const { n, k, columns, stride } = matrix;
      const x = Float32Array.from({ length: lengthOf(matrix) }, () => (i % 3 ? random() : 3e38 * random()));
      expect(flagOf(sides().simd, matrix, x)).toBe(false);
      const [row, column] = [between(random, 0, n - 1), between(random, 0, k - 1)];
      x[columns ? column * stride + row : row * stride + column] = nonFinite[i % nonFinite.length]!;
      expect(flagOf(sides().simd, matrix, x)).toBe(true);
      expect(flagOf(sides().reference, matrix, x)).toBe(true);
    }
  });

  it("NaN and infinities: the same codes, with parameters given", () => {
    const random = randomOf(30 + bits);
    for (let round = 0; round < 6; round++) {
      const matrix = matrixOf(random, between(random, 1, 7), between(random, 1, 40), 16);
      const { n, k, size, columns, stride } = matrix;
      const { blocks, parts } = partsOf(matrix, mixed(random, lengthOf(matrix), nonFinite));
      const scales = normals(random, n * blocks, 10).map((s) => s || 1);
      const zeroPoints = new Float32Array(n * blocks).fill(2 ** (bits - 1));
      // The bits of a NaN among the sums are the processor's own.
      expectSame(
        JSON.stringify(matrix),
        [...parts, given(scales), given(zeroPoints)],
        (kernels, [src, dst, s, z, free]) => {
          const kernel = kernels[`encodeF32N${columns ? "Columns" : ""}`];
          const scratch = free! + 64 * n;
          kernel(src!, dst!, s!, z!, free!, scratch, n, k, stride, size, bits);
        },
      );
    }
  });
});

describe("MatMulBnb4", () => {
  it.each(["nf4", "fp4"] as const)("%s: the same bytes at every length, and as one call follows another", (type) => {
    const random = randomOf(40);
    const { thresholds, values, codes } = bnb4Levels[type];
    const table = new Uint8Array(144);
    new Float32Array(table.buffer).set(thresholds);
    new Float32Array(table.buffer, 64).set(values);
    table.set(codes, 128);
    for (let n = 1; n <= 150; n++) {
      const size = sizes[n % 5]!;
      const rounding = n % 7 === 0 ? 0 : n % 3;
      const x = n % 7 === 0 ? mixed(random, n) : normals(random, n, n % 2 ? 1 : 1e-7);
      // Thresholds themselves, and their neighbours to be.
      x[0] = 1;
      for (let i = 1; i < n && i <= 15; i++) x[i] = thresholds[i - 1]!;
      expectSame(
        `length ${n}, blocks of ${size}`,
        [given(x), written(Math.ceil(n / 2)), written(4 * Math.ceil(n / size)), zeros(64), given(table)],
        (kernels, [src, dst, scales, sums, levels, scratch]) => {
          kernels.quantizeF32B4(src!, dst!, scales!, sums!, scratch!, levels!, n, size, rounding);
          kernels.quantizeF32B4(src!, dst!, scales!, sums!, scratch!, levels!, n, size, rounding);
        },
      );
    }
  });

  it("transposed bytes", () => {
    const random = randomOf(42);
    for (let round = 0; round < 60; round++) {
      const [n, k] = [between(random, 1, 50), between(random, 1, round % 2 ? 20 : 150)];
      const x = Uint8Array.from({ length: n * k }, () => between(random, 0, 255));
      expectSame(`${k} x ${n}`, [given(x), written(n * k)], (kernels, [src, dst]) => {
        kernels.transposeBytes(src!, dst!, n, k);
      });
    }
  });

  it("a transposed panel", () => {
    const random = randomOf(41);
    for (let round = 0; round < 40; round++) {
      const [n, k] = [between(random, 1, 19), between(random, 1, 35)];
      const stride = n + between(random, 0, 3);
      const x = mixed(random, stride * k, nonFinite);
      expectSame(`${k} x ${n}`, [given(x), written(4 * n * k)], (kernels, [src, dst]) => {
        kernels.transposeF32(src!, dst!, n, k, stride);
      });
    }
  });
});
