import { beforeAll, describe, expect, it } from "vitest";
import type { Search } from "../../src/kernels/abi.ts";
import { type Platform, platforms } from "../helpers/platforms.ts";
import { between, mixed, nonFinite, normals, randomOf } from "../helpers/random.ts";

// The searches against their references: the same matrix in two memories, then everything written compared.

let simd: Platform;
let reference: Platform;
beforeAll(async () => {
  ({ simd, reference } = await platforms());
});

interface Matrix {
  readonly values: Float32Array;
  readonly columns: boolean;
  readonly n: number;
  readonly k: number;
  readonly stride: number;
}

interface How {
  readonly name: "mse" | "hqq";
  readonly size: number;
  readonly bits: 2 | 4 | 8;
  readonly symmetric: boolean;
  readonly rounding: 0 | 1 | 2;
}

const GUARD = 64;

/** Scales and zero points of both, with guard bytes around them. */
function both({ values, columns, n, k, stride }: Matrix, { name, size, bits, symmetric, rounding }: How): Uint8Array[] {
  const bytes = 4 * n * Math.ceil(k / size);
  return [simd, reference].map(({ memory, kernels }) => {
    const places = [values.byteLength + 4, bytes + 2 * GUARD, bytes + 2 * GUARD, 16 * size];
    const [src, scales, zeroPoints, scratch] = places.map((length) => memory.allocate(length)) as [
      number,
      number,
      number,
      number,
    ];
    memory.view(Float32Array, src, values.length).set(values);
    for (const place of [scales, zeroPoints]) memory.view(Uint8Array, place, bytes + 2 * GUARD).fill(0xa5);
    const args: Search = [src, scales + GUARD, zeroPoints + GUARD, scratch, n, k, stride, size, bits, 0, rounding];
    args[9] = symmetric ? 1 : 0;
    kernels[`${name}F32${columns ? "Columns" : ""}`](...args);
    const written = [scales, zeroPoints].map((place) => memory.view(Uint8Array, place, bytes + 2 * GUARD).slice());
    for (const place of [src, scales, zeroPoints, scratch]) memory.free(place);
    return new Uint8Array(Buffer.concat(written));
  });
}

function expectSame(matrix: Matrix, how: How): void {
  const [ours, theirs] = both(matrix, how) as [Uint8Array, Uint8Array];
  const at = ours.findIndex((byte, i) => byte !== theirs[i]);
  const { values: _, ...shape } = matrix;
  expect(at, `byte ${at}: ${JSON.stringify({ ...shape, ...how })}`).toBe(-1);
}

const sizes = [16, 32, 64, 128, 256] as const;

/** A matrix with rows or columns that are part of longer ones, and K that need not be whole blocks. */
function matrixOf(random: () => number, size: number, extra: readonly number[] | undefined): Matrix {
  const n = between(random, 1, 11);
  const k = between(random, 1, 2 * size + 20);
  const columns = random() < 0.5;
  const stride = (columns ? n : k) + between(random, 0, 3);
  const length = stride * (columns ? k : n);
  const values = extra ? mixed(random, length, extra) : normals(random, length, 0.05);
  return { values, columns, n, k, stride };
}

describe.each(["mse", "hqq"] as const)("%s", (name) => {
  for (const bits of [2, 4, 8] as const) {
    for (const symmetric of [true, false]) {
      it(`${bits} bits, ${symmetric ? "symmetric" : "asymmetric"}: the same bytes as its reference`, () => {
        const random = randomOf(bits + (symmetric ? 10 : 0));
        for (const size of sizes) {
          for (const extra of [undefined, undefined, [], nonFinite]) {
            const rounding = between(random, 0, 2) as 0 | 1 | 2;
            expectSame(matrixOf(random, size, extra), { name, size, bits, symmetric, rounding });
          }
        }
      });
    }
  }

  it("blocks that are all one value, zeros, subnormal or as large as can be: the same bytes", () => {
    const blocks = [0, -0, 1, -1, 1e-45, -1e-40, 3e38, -3.4e38, Number.NaN, Number.POSITIVE_INFINITY, 0.1];
    const single = blocks.map((x) => new Float32Array(16).fill(x));
    const ramps = [1e-44, 1e-38, 1, 1e38].map((unit) => Float32Array.from({ length: 16 }, (_, i) => (i - 7) * unit));
    const first = Float32Array.from({ length: 16 }, (_, i) => (i === 0 ? Number.NaN : 0));
    const rows = [...single, ...ramps, first];
    const values = new Float32Array(rows.flatMap((row) => [...row]));
    const matrix = { values, columns: false, n: rows.length, k: 16, stride: 16 };
    for (const bits of [2, 4, 8] as const) {
      for (const symmetric of [true, false]) {
        for (const rounding of [0, 1, 2] as const) expectSame(matrix, { name, size: 16, bits, symmetric, rounding });
      }
    }
  });

  it("rows and columns of the same matrix: the same scales", () => {
    const random = randomOf(5);
    const [n, k, size] = [7, 150, 64];
    const values = normals(random, n * k, 0.1);
    const turned = new Float32Array(n * k);
    for (let i = 0; i < n * k; i++) turned[(i % k) * n + Math.floor(i / k)] = values[i]!;
    for (const symmetric of [true, false]) {
      const how = { name, size, bits: 4, symmetric, rounding: 0 } as const;
      const [rows] = both({ values, columns: false, n, k, stride: k }, how);
      const [columns] = both({ values: turned, columns: true, n, k, stride: n }, how);
      expect(Buffer.compare(rows!, columns!)).toBe(0);
    }
  });
});
