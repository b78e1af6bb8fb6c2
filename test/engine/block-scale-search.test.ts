import { beforeAll, describe, expect, it } from "vitest";
import type { QuantizedMatrix } from "../../src/engine/blockwise/quantize-matrix.ts";
import { createEngine, type Engine, type FloatTensor } from "../../src/index.ts";
import { readModel } from "../../src/onnx/io/decode.ts";
import { loadTensor } from "../../src/onnx/io/load-tensor.ts";
import { TensorFiles } from "../../src/onnx/io/tensor-data.ts";
import { graphsOf } from "../../src/onnx/ir/graph.ts";
import { modelNeeds, modelSource } from "../helpers/models.ts";
import { skipWithout } from "../helpers/needs.ts";
import { awkward, normals, randomOf } from "../helpers/random.ts";

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine();
});

const algorithms = ["rtn", "mse", "hqq"] as const;
const searches = ["mse", "hqq"] as const;
const bitsOfAll = [2, 4, 8] as const;
const forms = bitsOfAll.flatMap((bits) => [true, false].map((symmetric) => ({ bits, symmetric })));

/** What was stored, as a tensor of its own. */
type Matrix = FloatTensor & { readonly data: Float32Array };

interface How {
  readonly bits: 2 | 4 | 8;
  readonly blockSize: number;
  readonly symmetric: boolean;
  readonly algorithm: (typeof algorithms)[number];
  readonly scaleDtype?: "float32" | "float16" | "bfloat16";
  readonly nonFinite?: "ignore";
}

function quantize({ data, shape }: Matrix, how: How): QuantizedMatrix {
  return engine.quantizeMatrix({ data, shape }, { ...how, layout: "NK" });
}

/** What the matrix is once it was quantized. */
function restored(matrix: Matrix, how: How): Float32Array {
  const [n, k] = matrix.shape as [number, number];
  const { bits, blockSize, scaleDtype } = how;
  return engine.dequantizeMatrix(quantize(matrix, how), { n, k, bits, blockSize, scaleDtype, layout: "NK" });
}

/** `sum |error|^p` of each block. */
function errorsOf({ data, shape }: Matrix, other: Float32Array, blockSize: number, p: number): Float64Array {
  const [n, k] = shape as [number, number];
  const blocks = Math.ceil(k / blockSize);
  const errors = new Float64Array(n * blocks);
  data.forEach((x, i) => {
    errors[Math.floor(i / k) * blocks + Math.floor((i % k) / blockSize)]! += Math.abs(x - other[i]!) ** p;
  });
  return errors;
}

const sum = (values: Float64Array) => values.reduce((a, b) => a + b, 0);

/** Rows of many kinds: normal, skewed, with outliers, of few values, tiny and large; the last block is shorter. */
function matrixOf(seed: number, k: number): Matrix {
  const random = randomOf(seed);
  const kinds: ((x: number, i: number) => number)[] = [
    (x) => x,
    (x) => 0.05 * x,
    (x) => Math.abs(x),
    (x) => x - 2,
    (x, i) => (i % 29 === 0 ? 20 * x : x),
    (x) => Math.round(4 * x) / 8,
    (x) => x * 1e-30,
    (x) => x * 1e30,
    (x) => x * 1e-42,
    (x) => x ** 3,
  ];
  const rows = kinds.flatMap((kind) => [0, 1].map(() => normals(random, k).map(kind)));
  return { data: new Float32Array(rows.flatMap((row) => [...row])), shape: [rows.length, k] };
}

describe("least squares", () => {
  it.each(forms)("%o: no block has more squared error than by its extremes, and many have less", (form) => {
    for (const blockSize of [16, 32, 128]) {
      for (const scaleDtype of ["float32", "bfloat16"] as const) {
        const matrix = matrixOf(form.bits, 300);
        const [rtn, mse] = (["rtn", "mse"] as const).map((algorithm) =>
          errorsOf(matrix, restored(matrix, { ...form, blockSize, scaleDtype, algorithm }), blockSize, 2),
        ) as [Float64Array, Float64Array];
        const worse = mse.findIndex((error, i) => error > rtn[i]!);
        expect(worse, `block ${worse} of ${blockSize}, ${scaleDtype}: ${mse[worse]} after ${rtn[worse]}`).toBe(-1);
        expect(mse.filter((error, i) => error < rtn[i]!).length).toBeGreaterThan(0.4 * mse.length);
      }
    }
  });

  it("finds the scale that a block was made with", () => {
    // Codes from 1 to 14 of a grid with its zero point at 6: by their extremes it comes out wrong.
    const data = Float32Array.from({ length: 64 }, (_, i) => (((i * 5) % 14) + 1 - 6) * 0.25);
    const how = { bits: 4, blockSize: 64, symmetric: false, algorithm: "mse" } as const;
    expect(quantize({ data, shape: [1, 64] }, { ...how, algorithm: "rtn" }).error.mse).toBeGreaterThan(1e-4);
    const found = quantize({ data, shape: [1, 64] }, how);
    expect(found.error.maxAbs).toBeLessThan(1e-6);
  });
});

describe("half-quadratic", () => {
  it.each(forms)("%o: the sum of errors to the power of 3/4 falls, in no block does it rise", (form) => {
    for (const blockSize of [16, 32, 128]) {
      const matrix = matrixOf(form.bits, 300);
      const [rtn, hqq] = (["rtn", "hqq"] as const).map((algorithm) =>
        errorsOf(matrix, restored(matrix, { ...form, blockSize, algorithm }), blockSize, 0.75),
      ) as [Float64Array, Float64Array];
      // Judged in float32 and by codes that differ on ties; to that power, noise tells where there is no error.
      const whole = errorsOf(matrix, new Float32Array(matrix.data.length), blockSize, 0.75);
      const worse = hqq.findIndex((error, i) => error > 1.001 * rtn[i]! + 1e-4 * whole[i]!);
      expect(worse, `block ${worse} of ${blockSize}: ${hqq[worse]} after ${rtn[worse]}`).toBe(-1);
      expect(sum(hqq)).toBeLessThan(sum(rtn));
    }
  });
});

describe.each(searches)("%s", (algorithm) => {
  it("keeps what has no error: zeros, one value, values on a grid", () => {
    const rows = [() => 0, () => -0, () => 0.7, () => -3, (i: number) => (i % 16) - 8].map((x) =>
      Float32Array.from({ length: 48 }, (_, i) => x(i)),
    );
    const matrix = { data: new Float32Array(rows.flatMap((row) => [...row])), shape: [rows.length, 48] };
    for (const symmetric of [true, false]) {
      const how = { bits: 4, blockSize: 32, symmetric } as const;
      const [found, rtn] = [algorithm, "rtn" as const].map((name) => quantize(matrix, { ...how, algorithm: name }));
      expect(found!.codes).toEqual(rtn!.codes);
      expect(found!.scale).toEqual(rtn!.scale);
      expect(found!.zeroPoint).toEqual(rtn!.zeroPoint);
    }
  });

  it("gives finite scales and some code to whatever is finite", () => {
    const data = Float32Array.from({ length: 2048 }, (_, i) => awkward[(i * 7 + (i >> 5)) % awkward.length]!);
    for (const form of forms) {
      const how = { ...form, blockSize: 32, algorithm } as const;
      const matrix = { data, shape: [8, 256] };
      const { scale, error } = quantize(matrix, how);
      expect(scale.every((x) => Number.isFinite(x))).toBe(true);
      expect(error.mse).not.toBeNaN();
    }
  });

  it("a shorter last block comes out as on its own", () => {
    const data = normals(randomOf(9), 70, 0.1);
    for (const form of forms) {
      const how = { ...form, blockSize: 64, algorithm } as const;
      const whole = quantize({ data, shape: [1, 70] }, how);
      const rest = quantize({ data: data.slice(64), shape: [1, 6] }, how);
      expect(whole.scale[1]).toBe(rest.scale[0]);
      expect(whole.codes.subarray(8 * form.bits)).toEqual(rest.codes);
    }
  });

  it("searches all blocks but those that hold NaN or an infinity, where these are to be ignored", () => {
    const data = normals(randomOf(11), 8 * 128);
    const broken = data.slice();
    broken[130] = Number.NaN;
    broken[600] = Number.NEGATIVE_INFINITY;
    for (const form of forms) {
      const how = { ...form, blockSize: 32, algorithm } as const;
      const [plain, rtn] = [algorithm, "rtn" as const].map((name) =>
        quantize(
          { data: broken.map((x, i) => (Number.isFinite(x) ? x : data[i]! * 0)), shape: [8, 128] },
          { ...how, algorithm: name },
        ),
      ) as [QuantizedMatrix, QuantizedMatrix];
      const some = quantize({ data: broken, shape: [8, 128] }, { ...how, nonFinite: "ignore" });
      const isBroken = (block: number) => block === 4 || block === 18;
      some.scale.forEach((scale, block) => {
        expect(scale, `block ${block}`).toBe((isBroken(block) ? rtn : plain).scale[block]);
      });
    }
  });
});

/** All matrices that a model's MatMuls multiply with, one column a row. */
async function matricesOf(model: string): Promise<Matrix[]> {
  const source = modelSource(model);
  const read = await readModel(source);
  const files = await TensorFiles.open(source, read);
  const matrices: Matrix[] = [];
  for (const { nodes, initializers } of graphsOf(read.graph)) {
    for (const { opType, inputs } of nodes) {
      const tensor = initializers.find(({ name }) => name === inputs[1]);
      if (opType !== "MatMul" || tensor?.shape.length !== 2) continue;
      const { data } = await loadTensor(files, { name: tensor.name, tensor });
      const [k, n] = tensor.shape as [number, number];
      const turned = Float32Array.from(
        data as Float32Array,
        (_, i) => (data as Float32Array)[(i % k) * n + Math.floor(i / k)]!,
      );
      matrices.push({ data: turned, shape: [n, k] });
    }
  }
  return matrices;
}

// By how much the squared error falls at least, in percent: symmetric, asymmetric.
describe("MatMuls of models at 4 bits", () => {
  it.for([
    ["dtln_1", 32, { mse: [8.5, 6.5], hqq: [4.5, 4] }],
    ["dtln_1", 128, { mse: [11.5, 10], hqq: [8, 7.5] }],
    ["dtln_2", 32, { mse: [9, 8.5], hqq: [5, 5] }],
    ["dtln_2", 128, { mse: [12.5, 10], hqq: [8.5, 7] }],
    ["cifar10_small", 32, { mse: [9, 9.5], hqq: [5, 6] }],
    ["cifar10_small", 128, { mse: [14.5, 10], hqq: [10.5, 6.5] }],
    ["tiny_transformer", 32, { mse: [11, 10], hqq: [6, 6] }],
    ["tiny_transformer", 128, { mse: [9.5, 8.5], hqq: [5.5, 6] }],
  ] as const)("%s, blocks of %i: %o", async ([model, blockSize, falls], context) => {
    skipWithout(context, ...modelNeeds(model));
    const matrices = await matricesOf(model);
    expect(matrices.length).toBeGreaterThan(0);
    for (const [at, symmetric] of [true, false].entries()) {
      const [rtn, mse, hqq] = algorithms.map((algorithm) => {
        const errors = matrices.map((matrix) => {
          const { error } = quantize(matrix, { bits: 4, blockSize, symmetric, algorithm });
          return error.mse * matrix.data.length;
        });
        return errors.reduce((a, b) => a + b, 0);
      }) as [number, number, number];
      expect(100 * (1 - mse / rtn)).toBeGreaterThan(falls.mse[at]!);
      expect(100 * (1 - hqq / rtn)).toBeGreaterThan(falls.hqq[at]!);
    }
  });
});
