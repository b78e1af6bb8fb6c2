import { beforeAll, describe, expect, it } from "vitest";
import { ArgumentError, createEngine, type Engine, type FloatTensor, NonFiniteError } from "../../src/index.ts";
import { bitsOfAll, expectSame, plain, transposed } from "../helpers/block-matrices.ts";
import { normals, randomOf } from "../helpers/random.ts";

let engine: Engine;

let scalar: Engine;

beforeAll(async () => {
  engine = await createEngine();
  scalar = await createEngine({ kernels: "scalar" });
});

describe("a matrix in blocks", () => {
  const random = randomOf(1);

  it.each(bitsOfAll)(
    "of %i bits: the same from [K, N], from [N, K], from the reference and from every kind of tensor",
    (bits) => {
      for (const [n, k] of [
        [1, 1],
        [3, 7],
        [5, 33],
        [70, 300],
        [1030, 40],
        [2, 1100],
      ] as const) {
        const data = normals(random, n * k, 0.05);
        for (const symmetric of [true, false]) {
          for (const blockSize of [16, 128]) {
            const options = { bits, blockSize, symmetric } as const;
            const nk = engine.quantizeMatrix({ data, shape: [n, k] }, { ...options, layout: "NK" });
            const kn: FloatTensor = { data: transposed(data, k, n), shape: [k, n] };
            kn.data.set(transposed(data, n, k));
            const resident = engine.allocate("float32", [k, n]);
            resident.data.set(kn.data);
            expectSame(engine.quantizeMatrix(kn, { ...options, layout: "KN" }), nk);
            expectSame(engine.quantizeMatrix(resident, { ...options, layout: "KN" }), nk);
            expectSame(scalar.quantizeMatrix(kn, { ...options, layout: "KN" }), nk);
            resident.dispose();
          }
        }
      }
    },
  );

  it("measures what it restores to", () => {
    const shape = [37, 500];
    const data = normals(random, 37 * 500);
    for (const bits of bitsOfAll) {
      for (const symmetric of [true, false]) {
        for (const scaleDtype of ["float32", "float16", "bfloat16"] as const) {
          const q = engine.quantizeMatrix({ data, shape }, { ...plain, bits, symmetric, scaleDtype });
          const restored = engine.dequantizeMatrix(q, { n: 37, k: 500, bits, blockSize: 32, layout: "NK", scaleDtype });
          const error = engine.error({ data, shape }, { data: restored, shape });
          expect(q.error.maxAbs).toBe(error.maxAbs);
          expect(q.error.mse / error.mse).toBeCloseTo(1, 6);
          expect(q.error.sqnr).toBeCloseTo(error.sqnr, 5);
          expect(q.error.cosine).toBeCloseTo(error.cosine, 6);
        }
      }
    }
  });

  it("loses nothing of what it restored before", () => {
    const options = { n: 8, k: 64, bits: 4, blockSize: 32, layout: "NK" } as const;
    const first = engine.quantizeMatrix({ data: normals(random, 512), shape: [8, 64] }, plain);
    const data = engine.dequantizeMatrix(first, options);
    const again = engine.quantizeMatrix({ data, shape: [8, 64] }, plain);
    expect(again.codes).toEqual(first.codes);
    expect(again.error).toEqual({ mse: 0, sqnr: Number.POSITIVE_INFINITY, maxAbs: 0, cosine: 1 });
  });

  it("unmeasured: the same but for the error, in each width, layout and algorithm, and of each kind of tensor", () => {
    const [n, k] = [37, 150];
    const data = normals(random, n * k, 0.05);
    for (const bits of bitsOfAll) {
      for (const layout of ["NK", "KN"] as const) {
        for (const algorithm of ["rtn", "mse"] as const) {
          const tensor = { data, shape: layout === "NK" ? [n, k] : [k, n] };
          const options = { ...plain, bits, layout, algorithm, symmetric: bits !== 4 };
          const { error, ...parts } = engine.quantizeMatrix(tensor, options);
          expect(error.sqnr).toBeGreaterThan(5);
          const unmeasured = engine.quantizeMatrix(tensor, { ...options, measure: false });
          expect(unmeasured.error).toBeUndefined();
          expectSame({ ...parts, sums: [], error: undefined }, unmeasured);
        }
      }
    }
  });

  it("takes an array for the codes", () => {
    const tensor: FloatTensor = { data: normals(random, 640), shape: [20, 32] };
    const out = new Uint8Array(20 * 16);
    const q = engine.quantizeMatrix(tensor, { ...plain, out });
    expect(q.codes).toBe(out);
    expect(out).toEqual(engine.quantizeMatrix(tensor, plain).codes);
    const scale = new Float32Array(20);
    expect(engine.quantizeMatrix(tensor, { ...plain, outScale: scale }).scale).toBe(scale);
    expect(scale).toEqual(q.scale);
    expect(() => engine.quantizeMatrix(tensor, { ...plain, outScale: new Uint16Array(20) })).toThrow(/^outScale: /);
    expect(() => engine.quantizeMatrix(tensor, { ...plain, out: new Uint8Array(3) })).toThrow(/^out: .* 320$/);
  });

  it("all zeros, all one value, nothing at all", () => {
    const zeros = engine.quantizeMatrix({ data: new Float32Array(32), shape: [1, 32] }, plain);
    expect(zeros.codes).toEqual(new Uint8Array(16).fill(0x88));
    expect(zeros.scale).toEqual(Float32Array.of(-0));
    expect(zeros.error.sqnr).toBe(Number.POSITIVE_INFINITY);
    const flat = engine.quantizeMatrix({ data: zeros.scale.map(() => 5) as Float32Array, shape: [1, 1] }, plain);
    expect([flat.scale[0], ...flat.codes]).toEqual([-0.625, ...new Uint8Array(16)]);
    const asymmetric = { ...plain, symmetric: false };
    const nothing = engine.quantizeMatrix({ data: new Float32Array(0), shape: [0, 32] }, asymmetric);
    expect(nothing).toMatchObject({ codes: new Uint8Array(0), zeroPoint: new Uint8Array(0) });
    expect(engine.quantizeMatrix({ data: new Float32Array(0), shape: [4, 0] }, asymmetric).error.mse).toBe(0);
    const zeroBlock = engine.quantizeMatrix({ data: new Float32Array(40), shape: [1, 40] }, asymmetric);
    expect([...zeroBlock.zeroPoint!, ...zeroBlock.codes]).toEqual([0, ...new Uint8Array(32)]);
  });

  it("values so far apart that float32 has no number for their range", () => {
    const data = Float32Array.of(-3e38, 3e38, 0, 1);
    for (const bits of bitsOfAll) {
      const q = engine.quantizeMatrix({ data, shape: [1, 4] }, { ...plain, bits, symmetric: false });
      expect(q.scale[0]).toBeCloseTo(6e38 / (2 ** bits - 1), -32);
      expect(Number.isFinite(q.scale[0]!)).toBe(true);
    }
  });

  it("the last zero point of an odd row has the middle code beside it, codes end with zeros", () => {
    const data = Float32Array.from({ length: 40 }, (_, i) => i - 20);
    const four = engine.quantizeMatrix({ data, shape: [1, 40] }, { ...plain, blockSize: 16, symmetric: false });
    expect(four.zeroPoint!.length).toBe(2);
    expect(four.zeroPoint![1]! >> 4).toBe(8);
    expect(four.codes.subarray(20)).toEqual(new Uint8Array(4));
    const two = engine.quantizeMatrix({ data, shape: [1, 40] }, { ...plain, bits: 2, blockSize: 16, symmetric: false });
    expect(two.zeroPoint![0]! >> 6).toBe(2);
  });
});

describe("scales in half precision", () => {
  it("codes are those of the scale as it is stored", () => {
    const data = normals(randomOf(2), 640, 0.3);
    for (const scaleDtype of ["float16", "bfloat16"] as const) {
      const q = engine.quantizeMatrix({ data, shape: [20, 32] }, { ...plain, scaleDtype });
      const how = { n: 20, k: 32, bits: 4, blockSize: 32, layout: "NK", scaleDtype } as const;
      const restored = engine.dequantizeMatrix(q, how);
      const steps = engine.dequantizeMatrix({ ...q, codes: new Uint8Array(320).fill(0x99) }, how); // 1 in every place
      restored.forEach((x, i) => {
        const step = Math.abs(steps[i]!);
        // Half a step anywhere but beyond the highest code.
        if (x / steps[i]! < 7) expect(Math.abs(x - data[i]!)).toBeLessThanOrEqual(0.5001 * step);
      });
    }
  });

  it("a scale too small for float16 is its smallest number, not 0: values that it can tell from 0 stay", () => {
    const data = new Float32Array(32).fill(1e-7);
    data[3] = -2e-7;
    for (const symmetric of [true, false]) {
      const q = engine.quantizeMatrix({ data, shape: [1, 32] }, { ...plain, symmetric, scaleDtype: "float16" });
      expect(q.scale[0]! & 0x7fff).toBe(1);
      const options = { n: 1, k: 32, bits: 4, blockSize: 32, layout: "NK", scaleDtype: "float16" } as const;
      const restored = engine.dequantizeMatrix(q, options);
      expect(restored.every((x, i) => Math.abs(x - data[i]!) <= 2 ** -25)).toBe(true);
    }
  });

  it("a scale beyond float16 is refused, and fits bfloat16", () => {
    const data = new Float32Array(96).fill(1);
    data[70] = 1e6;
    const tensor = { data, shape: [1, 96], name: "w" } as const;
    expect(() => engine.quantizeMatrix(tensor, { ...plain, scaleDtype: "float16" })).toThrow(
      "data: the scale of block 2 of row 0 is beyond float16's 65504; exclude it",
    );
    expect(engine.quantizeMatrix(tensor, { ...plain, scaleDtype: "bfloat16" }).error.sqnr).toBeGreaterThan(50);
  });
});

describe("NaN and infinities", () => {
  const data = normals(randomOf(3), 3000);
  data[1234] = Number.NaN;
  data[40] = Number.POSITIVE_INFINITY;
  const tensor = { data, shape: [30, 100], name: "w" } as const;

  it.each(["rtn", "mse", "hqq"] as const)("%s: are refused, with their place", (algorithm) => {
    for (const layout of ["KN", "NK"] as const) {
      const refused = () => engine.quantizeMatrix(tensor, { ...plain, layout, algorithm });
      expect(refused).toThrow(NonFiniteError);
      expect(refused).toThrow('tensor "w" holds Infinity at flat index 40');
      expect(() => engine.quantizeMatrix(tensor, { ...plain, layout, algorithm, measure: false })).toThrow(
        "flat index 40",
      );
    }
    expect(() => engine.quantizeBnb4(tensor, { layout: "NK", blockSize: 64, quantType: "nf4" })).toThrow(
      "flat index 40",
    );
  });

  it("are left out of ranges on request: infinity saturates, NaN becomes code 0", () => {
    for (const bits of bitsOfAll) {
      for (const symmetric of [true, false]) {
        const options = { ...plain, bits, symmetric, nonFinite: "ignore" } as const;
        const q = engine.quantizeMatrix(tensor, options);
        expectSame(scalar.quantizeMatrix(tensor, options), q);
        expectSame(engine.quantizeMatrix(tensor, { ...options, measure: false }), { ...q, sums: [], error: undefined });
        const restored = engine.dequantizeMatrix(q, { n: 30, k: 100, bits, blockSize: 32, layout: "NK" });
        const without = data.map((x) => (Number.isFinite(x) ? x : 0));
        const clean = engine.quantizeMatrix({ data: without, shape: [30, 100] }, { ...options });
        expect(q.scale).toEqual(clean.scale);
        expect(q.zeroPoint).toEqual(clean.zeroPoint);
        const same = engine.dequantizeMatrix(clean, { n: 30, k: 100, bits, blockSize: 32, layout: "NK" });
        expect(restored.filter((_, i) => i !== 40 && i !== 1234)).toEqual(
          same.filter((_, i) => i !== 40 && i !== 1234),
        );
        expect(q.error.mse).toBeNaN();
      }
    }
  });
});

describe("searched", () => {
  it.each(["mse", "hqq"] as const)("%s: the same from both layouts and from the reference", (algorithm) => {
    const [n, k] = [21, 150];
    const data = normals(randomOf(4), n * k, 0.05);
    for (const bits of bitsOfAll) {
      for (const symmetric of [true, false]) {
        const options = { bits, symmetric, algorithm, blockSize: 32, scaleDtype: "float16" } as const;
        const nk = engine.quantizeMatrix({ data, shape: [n, k] }, { ...options, layout: "NK" });
        const kn = { data: transposed(data, n, k), shape: [k, n] };
        expectSame(engine.quantizeMatrix(kn, { ...options, layout: "KN" }), nk);
        expectSame(scalar.quantizeMatrix(kn, { ...options, layout: "KN" }), nk);
        const rtn = engine.quantizeMatrix(kn, { ...options, algorithm: "rtn", layout: "KN" });
        if (algorithm === "mse") expect(nk.error.mse).toBeLessThanOrEqual(rtn.error.mse);
      }
    }
  });
});

describe("what is refused", () => {
  it.each([
    [{ bits: 3 }, "bits: 3 given; 2, 4, 8 are allowed"],
    [{ blockSize: 48 }, "blockSize: 48 given; 16, 32, 64, 128, 256 are allowed"],
    [{ layout: "NN" }, 'layout: "NN" given; KN, NK are allowed'],
    [{ algorithm: "gptq" }, 'algorithm: "gptq" given; rtn, mse, hqq are allowed'],
    [{ axis: 0 }, "axis: no such option"],
  ])("%j", (wrong, message) => {
    const refused = () =>
      engine.quantizeMatrix({ data: new Float32Array(4), shape: [2, 2] }, { ...plain, ...wrong } as never);
    expect(refused).toThrow(ArgumentError);
    expect(refused).toThrow(message);
  });

  it("a tensor that is no matrix", () => {
    expect(() => engine.quantizeMatrix({ data: new Float32Array(4), shape: [4] }, plain)).toThrow(
      "shape: [4] given; a matrix has two dimensions",
    );
  });
});
