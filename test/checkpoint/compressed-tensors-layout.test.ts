import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import {
  type Compression,
  compressedParts,
  compressionOf,
  rowsTogether,
  unfitness,
} from "../../src/checkpoint/compressed-tensors/compressed-layout.ts";
import { brokenFusion, isLinear, moduleOf } from "../../src/checkpoint/compressed-tensors/module-names.ts";
import { packInt32, packZeroPoints, shapeBytes } from "../../src/checkpoint/compressed-tensors/pack-int32.ts";
import { scaleBytes, storedParameters } from "../../src/checkpoint/compressed-tensors/stored-scales.ts";
import { ArgumentError, createEngine, type Engine } from "../../src/index.ts";
import { int4, int8 } from "../helpers/compressions.ts";

let engine: Engine;

beforeAll(async () => {
  engine = await createEngine();
});

/** Signed codes as the engine holds them. */
function stored(codes: readonly number[], bits: 4 | 8): Int8Array | Uint8Array {
  if (bits === 8) return Int8Array.from(codes);
  const bytes = new Uint8Array(Math.ceil(codes.length / 2));
  codes.forEach((code, i) => {
    bytes[i >> 1]! |= (code & 15) << (4 * (i & 1));
  });
  return bytes;
}

/** The format read back: code `i` of a row is at bit `i * bits` of the row's words. */
function unpacked(words: Int32Array, rows: number, columns: number, bits: number): number[] {
  const width = words.length / rows;
  return Array.from({ length: rows * columns }, (_, i) => {
    const bit = (i % columns) * bits;
    const word = words[Math.floor(i / columns) * width + Math.floor(bit / 32)]!;
    return ((word >>> (bit % 32)) & (2 ** bits - 1)) - 2 ** (bits - 1);
  });
}

const matrices = fc
  .tuple(fc.constantFrom(4 as const, 8 as const), fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 70 }))
  .chain(([bits, rows, columns]) => {
    const code = fc.integer({ min: -(2 ** (bits - 1)), max: 2 ** (bits - 1) - 1 });
    const codes = fc.array(code, { minLength: rows * columns, maxLength: rows * columns });
    return fc.record({
      bits: fc.constant(bits),
      rows: fc.constant(rows),
      columns: fc.constant(columns),
      codes,
    });
  });

describe("packing", () => {
  it("puts the first code of a row in the lowest bits, offset to be unsigned", () => {
    // 1 + 8 = 9 lowest, 0 + 8 = 8 highest
    const rows = [1, 2, 3, 4, 5, 6, 7, 0, -1, -2, -3, -4, -5, -6, -7, -8];
    expect(packInt32(stored(rows, 4), 2, 8, 4)).toEqual(Int32Array.of(0x8fedcba9 | 0, 0x01234567));
    // 30 + 128 = 0x9e, 40 + 128 = 0xa8
    expect(packInt32(stored([30, 40, 50, 60], 8), 2, 2, 8)).toEqual(Int32Array.of(0xa89e, 0xbcb2));
    const eight = [10, 15, 20, 25, 30, 35, 40, 45, -10, -20, -30, -40, -50, -60, -70, -80];
    expect([...packInt32(stored(eight, 8), 2, 8, 8)]).toEqual([-1718317174, -1381456994, 1482845302, 809124942]);
  });

  it("leaves zeros where a row does not fill its last word", () => {
    expect(packInt32(stored([1, 2, 3, 4], 4), 2, 2, 4)).toEqual(Int32Array.of(0xa9, 0xcb));
    expect(packInt32(stored([0, 1, 2, 3, 4, 5], 4), 2, 3, 4)).toEqual(Int32Array.of(0xa98, 0xdcb));
  });

  it("gives back every code; rows do not depend on each other", () => {
    fc.assert(
      fc.property(matrices, ({ bits, rows, columns, codes }) => {
        const words = packInt32(stored(codes, bits), rows, columns, bits);
        expect(words.length).toBe(rows * Math.ceil((columns * bits) / 32));
        expect(unpacked(words, rows, columns, bits)).toEqual(codes);
        const apart = Array.from({ length: rows }, (_, row) => {
          const one = codes.slice(row * columns, (row + 1) * columns);
          return [...packInt32(stored(one, bits), 1, columns, bits)];
        });
        expect(apart.flat()).toEqual([...words]);
      }),
    );
  });

  it("packs in place, and codes that do not lie on a word", () => {
    const codes = Int8Array.of(0, 1, 2, 3, -4, -5, -6, -7, -8);
    const expected = packInt32(codes.slice(1), 2, 4, 8);
    expect(packInt32(codes.subarray(1), 2, 4, 8)).toEqual(expected);
    const words = new Int32Array(codes.slice(1).buffer);
    expect(packInt32(new Int8Array(words.buffer), 2, 4, 8, words)).toBe(words);
    expect(words).toEqual(expected);
  });

  const zeroPoints = [0, 1, 2, 3, -8, 7, -1, -2, 4, -3, 5, 6, 7, -8, -4, 0, 3, -5, -6, 2];

  it("packs zero points down the rows", () => {
    expect([...packZeroPoints(zeroPoints, 10, 2, 4)]).toEqual([1339846824, -2132447303, 43, 163]);
    const words = [2138604160, 2122810241, 2089256324, -2139584899, 31363, 33403];
    expect([...packZeroPoints(zeroPoints, 10, 2, 8)]).toEqual(words);
  });

  it("packs zero points window by window of rows that lie together", () => {
    const step = rowsTogether({ ...int4, symmetric: false });
    expect(step).toBe(8);
    const windows = [packZeroPoints(zeroPoints.slice(0, 16), 8, 2, 4), packZeroPoints(zeroPoints.slice(16), 2, 2, 4)];
    expect(windows.flatMap((words) => [...words])).toEqual([...packZeroPoints(zeroPoints, 10, 2, 4)]);
    expect(rowsTogether(int4)).toBe(1);
  });

  it("states the shape in 64 bits", () => {
    expect(new BigInt64Array(shapeBytes([4096, 11008]).buffer)).toEqual(BigInt64Array.of(4096n, 11008n));
  });
});

describe("scales", () => {
  const range = (...magnitudes: number[]) => ({
    min: Float32Array.from(magnitudes, (x) => -x / 2),
    max: Float32Array.from(magnitudes),
  });

  it("are positive, of the largest magnitude, and 1 for zeros", () => {
    expect(storedParameters(range(1.5, 0), int4, "F32").scale).toEqual(Float32Array.of(0.2, 1));
    expect(storedParameters(range(254, 0), int8, "F32").scale).toEqual(Float32Array.of(2, 1));
    expect(storedParameters(range(1.5), int4, "F32").zeroPoint).toEqual(Int32Array.of(0));
  });

  it("are what the type of the weights holds, and never 0", () => {
    // 0.2 is 1.6 * 2^-3: 1.6 in 7 bits after the point is 205 / 128, in 10 bits 1638 / 1024
    expect(storedParameters(range(1.5), int4, "BF16").scale[0]).toBe(205 / 1024);
    expect(storedParameters(range(1.5), int4, "F16").scale[0]).toBe(1638 / 8192);
    expect(storedParameters(range(2 ** -24), int8, "F16").scale[0]).toBe(2 ** -24);
    expect(scaleBytes(Float32Array.of(205 / 1024), "BF16")).toEqual(new Uint8Array(Uint16Array.of(0x3e4d).buffer));
    expect(scaleBytes(Float32Array.of(1638 / 8192), "F16")).toEqual(new Uint8Array(Uint16Array.of(0x3266).buffer));
    expect(scaleBytes(Float32Array.of(0.5), "F64")).toEqual(new Uint8Array(Float64Array.of(0.5).buffer));
  });

  it("come with zero points of their own where weights are asymmetric", () => {
    const asymmetric = { ...int4, symmetric: false };
    const found = storedParameters(
      { min: Float32Array.of(-1, 2, -15), max: Float32Array.of(0.5, 30, -3) },
      asymmetric,
      "F32",
    );
    expect(found.scale).toEqual(Float32Array.of(0.1, 2, 1));
    expect(found.zeroPoint).toEqual(Int32Array.of(2, -8, 7));
  });

  it.each([
    ["float16", "F16"],
    ["bfloat16", "BF16"],
  ] as const)("restore %s weights to half a step, saturated ones to one", (dtype, name) => {
    const halves = fc.array(fc.integer({ min: -2000, max: 2000 }), { minLength: 64, maxLength: 64 });
    fc.assert(
      fc.property(halves, fc.constantFrom(int4, { ...int4, symmetric: false }, int8), (values, compression) => {
        const float = { shape: [2, 32], data: Float32Array.from(values, (x) => x / 1024) };
        const data = new Uint16Array(64);
        engine.convertToHalf(float, { dtype, out: data });
        const weight = { dtype, shape: [2, 32], data };
        const parameters = storedParameters(engine.range(weight, { axis: 1, blockSize: 32 }), compression, name);
        const { zeroPoint } = parameters;
        const q = engine.quantize(weight, {
          dtype: compression.bits === 4 ? "int4" : "int8",
          axis: 1,
          blockSize: 32,
          ...parameters,
        });
        const words = packInt32(q.data, 2, 32, compression.bits);
        const scale = new Uint16Array(scaleBytes(parameters.scale, name).slice().buffer);
        const scales = engine.dequantize(
          engine.quantize({ dtype, shape: [2], data: scale }, { dtype: "int8", scale: parameters.scale, axis: 0 }),
        ).data;
        expect(scales).toEqual(parameters.scale); // the file's bits are the scales used: x / x is code 1
        const restored = unpacked(words, 2, 32, compression.bits).map((code, i) => {
          const row = Math.floor(i / 32);
          return Math.fround((code - zeroPoint[row]!) * parameters.scale[row]!);
        });
        expect(Float32Array.from(restored)).toEqual(engine.dequantize(q).data);
        const { maxAbs } = engine.error(weight, q);
        expect(maxAbs).toBeLessThanOrEqual(Math.max(...parameters.scale) * 1.1);
      }),
      { numRuns: 30 },
    );
  });
});

describe("names", () => {
  it("tells linear layers from embeddings, heads and routers", () => {
    const linear = [
      "model.layers.0.self_attn.q_proj",
      "model.layers.0.mlp.gate_proj",
      "bert.encoder.layer.0.attention.output.dense",
      "model.layers.0.attention.output",
      "model.layers.3.block_sparse_moe.experts.7.w1",
      "transformer.h.0.member_proj",
    ];
    const others = [
      "model.embed_tokens",
      "bert.embeddings.word_embeddings",
      "transformer.wte",
      "shared",
      "lm_head",
      "language_model.lm_head",
      "output",
      "model.layers.3.block_sparse_moe.gate",
      "model.layers.3.mlp.shared_expert_gate",
      "model.layers.3.feed_forward.router",
      "transformer.blocks.0.ffn.router.layer",
      "",
    ];
    expect(linear.filter((module) => !isLinear(module))).toEqual([]);
    expect(others.filter(isLinear)).toEqual([]);
    expect([moduleOf("a.b.weight"), moduleOf("weight")]).toEqual(["a.b", ""]);
  });

  it("finds layers that vLLM makes one of, half quantized", () => {
    const left = ["model.layers.0.self_attn.v_proj", "model.layers.1.mlp.up_proj", "model.layers.0.self_attn.o_proj"];
    const q = "model.layers.0.self_attn.q_proj";
    expect(brokenFusion(["model.layers.0.mlp.gate_proj", q], left)).toEqual({ quantized: q, left: left[0] });
    expect(brokenFusion(["model.layers.0.mlp.gate_proj", "model.layers.1.self_attn.q_proj"], left)).toBeUndefined();
    expect(brokenFusion(["up_proj"], ["gate_proj"])).toEqual({ quantized: "up_proj", left: "gate_proj" });
  });
});

describe("the layout", () => {
  const selected = { dtype: "int4", scheme: "symmetric", perChannel: true } as const;
  const weight = { name: "model.layers.0.mlp.up_proj.weight", dtype: "BF16", shape: [24, 64] } as const;
  const describeParts = (compression: Compression) =>
    compressedParts(weight, compression).map(({ name, dtype, shape }) => {
      return `${name.slice("model.layers.0.mlp.up_proj.".length)} ${dtype} [${shape}]`;
    });

  it("follows from what was selected", () => {
    expect(compressionOf({ ...selected, blockSize: 32, axis: -1 })).toEqual({ ...int4, groupSize: 32 });
    expect(compressionOf({ ...selected, scheme: "asymmetric", axis: 0 })).toEqual({ ...int4, symmetric: false });
    expect(compressionOf({ ...selected, dtype: "int8" }, true)).toEqual({ ...int8, activations: true });
  });

  it.each([
    [{ dtype: "uint8" }, "dtype: compressed-tensors: uint8 given; there are int8 and int4"],
    [{ scheme: "float-offset" }, "scheme: compressed-tensors: float-offset given; there are symmetric and asymmetric"],
    [{ perChannel: false }, "perChannel: compressed-tensors: vLLM takes a scale for each channel or block"],
    [{ blockSize: 16 }, "blockSize: compressed-tensors: 16 given; vLLM takes 32, 64, 128"],
    [{ axis: 1 }, "axis: compressed-tensors: 1 given; channels are rows, axis 0"],
    [{ blockSize: 32, axis: 0 }, "axis: compressed-tensors: 0 given; blocks run along axis 1"],
    [
      { dtype: "int8", scheme: "asymmetric" },
      "scheme: compressed-tensors: vLLM has no kernel for int8 with zero points; take symmetric",
    ],
  ] as const)("refuses what vLLM does not load: %o", (options, message) => {
    const act = () => compressionOf({ ...selected, ...options });
    expect(act).toThrow(ArgumentError);
    expect(act).toThrow(message);
  });

  it("refuses quantized activations beside other weights than int8 per channel", () => {
    expect(() => compressionOf(selected, true)).toThrow("activations: compressed-tensors: are quantized with int8");
  });

  it("has parts of the names, types and shapes that loaders look for", () => {
    expect(describeParts({ ...int4, groupSize: 32 })).toEqual([
      "weight_packed I32 [24,8]",
      "weight_scale BF16 [24,2]",
      "weight_shape I64 [2]",
    ]);
    expect(describeParts({ ...int4, symmetric: false, groupSize: 32 })).toEqual([
      "weight_packed I32 [24,8]",
      "weight_scale BF16 [24,2]",
      "weight_zero_point I32 [3,2]",
      "weight_shape I64 [2]",
    ]);
    expect(describeParts(int8)).toEqual([
      "weight_packed I32 [24,16]",
      "weight_scale BF16 [24,1]",
      "weight_shape I64 [2]",
    ]);
    expect(describeParts({ ...int8, activations: true })).toEqual(["weight I8 [24,64]", "weight_scale BF16 [24,1]"]);
  });

  it("leaves what is no linear weight, or would not load", () => {
    const reason = (name: string, shape: number[], compression = int4, asked = false) =>
      unfitness({ name, shape }, compression, asked);
    expect(reason("a.q_proj.weight", [10, 64])).toBeUndefined();
    expect(reason("a.q_proj.bias", [10, 64])).toBe("not a layer's weight");
    expect(reason("a.conv.weight", [10, 64, 3])).toBe("not a matrix");
    expect(reason("a.q_proj.weight", [0, 64])).toBe("empty");
    expect(reason("lm_head.weight", [10, 64])).toBe("an embedding, a head or a router");
    expect(reason("lm_head.weight", [10, 64], int4, true)).toBeUndefined();
    expect(reason("a.q_proj.weight", [10, 60])).toBe("60 columns do not fill words of 8");
    expect(reason("a.q_proj.weight", [10, 60], int8)).toBeUndefined();
    expect(reason("a.q_proj.weight", [10, 61], { ...int8, activations: true })).toBeUndefined();
    expect(reason("a.q_proj.weight", [10, 96], { ...int4, groupSize: 64 })).toBe("96 columns are not blocks of 64");
    expect(reason("a.q_proj.weight", [10, 64], { ...int4, symmetric: false })).toBe(
      "zero points of 10 rows do not fill words of 8",
    );
  });
});
