import { beforeAll, describe, expect, it } from "vitest";
import { bytesOf } from "../../src/engine/tensors/tensor.ts";
import { createEngine, type Engine } from "../../src/index.ts";
import { bitsOfAll, expectSame, plain, transposed } from "../helpers/block-matrices.ts";
import { bytesIn, goldenFiles, goldenSource, originalSource } from "../helpers/golden.ts";
import { graph, model, node, value } from "../helpers/onnx-build.ts";
import { graphsIn, payloads, type ReadTensor } from "../helpers/onnx-read.ts";
import { tensor } from "../helpers/onnx-tensors.ts";
import { between, normals, randomOf } from "../helpers/random.ts";
import { openNode, withSession } from "../helpers/sessions.ts";

let engine: Engine;

let scalar: Engine;

beforeAll(async () => {
  engine = await createEngine();
  scalar = await createEngine({ kernels: "scalar" });
});

/** What ONNX Runtime makes of a weight [K, N]: the identity goes in. */
async function restoredBy(
  op: string,
  k: number,
  n: number,
  attributes: Record<string, number>,
  initializers: readonly Uint8Array[],
): Promise<Float32Array> {
  const inputs = ["a", ...initializers.map((_, i) => `w${i}`)].join(" ");
  const bytes = model({
    opsets: { "": 17, "com.microsoft": 1 },
    graph: graph({
      nodes: [node(op, inputs, "y", { K: k, N: n, ...attributes }, { domain: "com.microsoft" })],
      initializers,
      inputs: [value("a", `float32[${k},${k}]`)],
      outputs: [value("y", `float32[${k},${n}]`)],
    }),
  });
  const identity = Float32Array.from({ length: k * k }, (_, i) => (i % (k + 1) === 0 ? 1 : 0));
  const outputs = await withSession(openNode(bytes), (session) => session.run({ a: { data: identity, dims: [k, k] } }));
  return outputs.y!.data as Float32Array;
}

describe("ONNX Runtime reads it", () => {
  const random = randomOf(5);

  it.each(bitsOfAll)("MatMulNBits of %i bits, blocks with a tail", async (bits) => {
    const [k, n] = [75, 9];
    const data = normals(random, k * n, 0.2);
    for (const symmetric of [true, false]) {
      const q = engine.quantizeMatrix({ data, shape: [k, n] }, { ...plain, bits, symmetric, layout: "KN" });
      const blocks = Math.ceil(k / 32);
      const y = await restoredBy("MatMulNBits", k, n, { bits, block_size: 32 }, [
        tensor("w0", "uint8", [n, blocks, 4 * bits], q.codes),
        tensor("w1", "float32", [n * blocks], bytesOf(q.scale)),
        ...(q.zeroPoint ? [tensor("w2", "uint8", [q.zeroPoint.length], q.zeroPoint)] : []),
      ]);
      const restored = engine.dequantizeMatrix(q, { n, k, bits, blockSize: 32, layout: "KN" });
      expect(y).toEqual(restored.map((x) => x + 0)); // a sum of -0 and 0 is 0
    }
  });

  it.each([
    ["fp4", 0],
    ["nf4", 1],
  ] as const)("MatMulBnb4, %s", async (quantType, quant_type) => {
    for (const [k, n, blockSize] of [
      [64, 5, 16],
      [48, 7, 64],
      [33, 3, 32],
    ] as const) {
      const data = normals(random, k * n, 0.2);
      const q = engine.quantizeBnb4({ data, shape: [k, n] }, { layout: "KN", blockSize, quantType });
      const y = await restoredBy("MatMulBnb4", k, n, { block_size: blockSize, quant_type }, [
        tensor("w0", "uint8", [q.codes.length], q.codes),
        tensor("w1", "float32", [q.absmax.length], bytesOf(q.absmax)),
      ]);
      const restored = engine.dequantizeBnb4(q, { n, k, blockSize, quantType, layout: "KN" });
      expect(y).toEqual(restored.map((x) => x + 0));
    }
  });
});

describe("MatMulBnb4", () => {
  const random = randomOf(6);

  it.each(["nf4", "fp4"] as const)("%s: the same from [K, N], from [N, K] and from the reference", (quantType) => {
    for (const [n, k] of [
      [1, 1],
      [3, 5],
      [7, 33],
      [300, 1000],
      [129, 96],
      [64, 4096],
      [70, 4099],
    ] as const) {
      const data = normals(random, n * k, 0.05);
      for (const scaleDtype of ["float32", "float16", "bfloat16"] as const) {
        const options = { quantType, scaleDtype, blockSize: [16, 64, 256][between(random, 0, 2)]! };
        const nk = engine.quantizeBnb4({ data, shape: [n, k] }, { ...options, layout: "NK" });
        const kn = { data: transposed(data, n, k), shape: [k, n] };
        expectSame(engine.quantizeBnb4(kn, { ...options, layout: "KN" }), nk);
        if (n * k < 40000) expectSame(scalar.quantizeBnb4(kn, { ...options, layout: "KN" }), nk);

        const restored = engine.dequantizeBnb4(nk, { ...options, n, k, layout: "NK" });
        const error = engine.error({ data, shape: [n, k] }, { data: restored, shape: [n, k] });
        expect(nk.error.maxAbs).toBe(error.maxAbs);
        if (error.mse > 0) expect(nk.error.mse / error.mse).toBeCloseTo(1, 6);
        expect(nk.error.cosine).toBeCloseTo(error.cosine, 7);
      }
    }
  });

  it.each(["nf4", "fp4"] as const)("%s: each value gets the level nearest to it", (quantType) => {
    const data = normals(random, 64);
    const options = { quantType, blockSize: 64, layout: "NK" } as const;
    const q = engine.quantizeBnb4({ data, shape: [1, 64] }, options);
    expect(q.absmax[0]).toBe(Math.max(...data.map(Math.abs)));
    const every = Uint8Array.from({ length: 32 }, (_, i) => (((2 * i) % 16) << 4) | ((2 * i + 1) % 16));
    const levels = engine.dequantizeBnb4({ codes: every, absmax: q.absmax }, { ...options, n: 1, k: 64 });
    const restored = engine.dequantizeBnb4(q, { ...options, n: 1, k: 64 });
    data.forEach((x, i) => {
      const nearest = Math.min(...levels.map((level) => Math.abs(level - x)));
      expect(Math.abs(restored[i]! - x)).toBeCloseTo(nearest, 5);
    });
  });
});

describe("golden files", () => {
  const valuesOf = ({ raw, message }: ReadTensor) =>
    new Float32Array(new Uint8Array(raw.length > 0 ? raw : payloads(message, 4)[0]!).buffer);

  it.each(goldenFiles("matmulnbits-4bit-"))("$model/$variant: every byte", async (golden) => {
    const [, blockSize, kind] = /block(\d+)-(a?sym)/.exec(golden.variant)!;
    const initializersOf = (bytes: Uint8Array) =>
      new Map(graphsIn(bytes).flatMap(({ initializers }) => initializers.map((each) => [each.name, each] as const)));
    const originals = initializersOf(await bytesIn(originalSource(golden)));
    const expected = initializersOf(await bytesIn(goldenSource(golden)));
    const names = [...expected.keys()]
      .filter((name) => name.endsWith("_Q4"))
      .map((name) => name.slice(0, -"_Q4".length));
    expect(names.length).toBeGreaterThan(0);
    for (const name of names) {
      const original = originals.get(name)!;
      const options = { bits: 4, blockSize: Number(blockSize), symmetric: kind === "sym", layout: "KN" } as const;
      const weight = { data: valuesOf(original), shape: original.shape.slice(-2), name };
      const { codes, scale, zeroPoint } = engine.quantizeMatrix(weight, options);
      expect(Buffer.compare(codes, expected.get(`${name}_Q4`)!.raw)).toBe(0);
      expect(Buffer.compare(bytesOf(scale), expected.get(`${name}_scales`)!.raw)).toBe(0);
      if (zeroPoint) expect(Buffer.compare(zeroPoint, expected.get(`${name}_zero_points`)!.raw)).toBe(0);
    }
  });
});
