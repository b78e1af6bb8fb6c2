import { beforeAll, describe, expect, it } from "vitest";
import { ArgumentError, createEngine, type Engine, isWasmQuantError, NonFiniteError } from "../../src/index.ts";

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine();
});

const data = new Float32Array(24).map((_, i) => i - 12);
const x = { data, shape: [2, 3, 4] };
const q = () => engine.quantize(x, { axis: 1 });

/** What JavaScript lets a caller write and types would not. */
const loose = (value: object) => value as never;

describe("arguments that are not allowed: a tagged error that says what was given and what is allowed", () => {
  it.each<[string, () => unknown, string]>([
    ["axis", () => engine.quantize(x, { axis: 3 }), "axis: 3 given for shape [2, 3, 4]; -3 to 2 are allowed"],
    ["axis", () => engine.range(x, { axis: -4 }), "axis: -4 given for shape [2, 3, 4]; -3 to 2 are allowed"],
    ["axis", () => engine.range(x, { axis: 0.5 }), "axis: 0.5 given"],
    ["axis", () => engine.range(x, { axis: [1, 0] }), "axis: [1,0] given; a range is [first, last] with first <= last"],
    ["axis", () => engine.range(x, { axis: [0, 1], blockSize: 2 }), "axis: blocks run along one axis"],
    ["axis", () => engine.range({ data: data.subarray(0, 1), shape: [] }, { axis: 0 }), "a scalar has none"],
    ["blockSize", () => engine.quantize(x, { blockSize: 0 }), "blockSize: 0 given; whole numbers above 0 are allowed"],
    ["blockSize", () => engine.quantize(x, { axis: 1, blockSize: 2.5 }), "blockSize: 2.5 given"],
    ["shape", () => engine.range({ data, shape: [2, -3, 4] }), "shape: [2,-3,4] given; whole numbers of 0 or more"],
    ["shape", () => engine.range({ data, shape: [2 ** 30, 2 ** 30] }), "shape: [1073741824,1073741824] given"],
    [
      "data",
      () => engine.range({ data, shape: [5, 5] }),
      "data: Float32Array of length 24 given; float32 of shape [5, 5] takes a Float32Array of length 25",
    ],
    [
      "data",
      () => engine.range(loose({ data: new Float64Array(24), shape: [24] })),
      "data: Float64Array of length 24 given",
    ],
    ["data", () => engine.range(loose({ data: [1, 2], shape: [2] })), "data: Array of length 2 given"],
    ["data", () => engine.range(loose({ shape: [2] })), "data: undefined of length undefined given"],
    [
      "dtype",
      () => engine.range(loose({ dtype: "int8", data: new Int8Array(2), shape: [2] })),
      "dtype: int8 given; float tensors are",
    ],
    [
      "dtype",
      () => engine.quantize(x, loose({ dtype: "int32" })),
      'dtype: "int32" given; int8, uint8, int16, uint16, int4, uint4 are allowed',
    ],
    [
      "scheme",
      () => engine.quantize(x, loose({ scheme: "log" })),
      'scheme: "log" given; asymmetric, symmetric, float-offset, dynamic are allowed',
    ],
    ["scheme", () => engine.quantize(x, { scheme: "dynamic" }), "scheme: dynamic is ONNX DynamicQuantizeLinear: uint8"],
    ["scheme", () => engine.quantize(x, { dtype: "uint8", scheme: "dynamic", reduceRange: true }), "its full range"],
    [
      "scheme",
      () => engine.quantize({ data: Float32Array.of(-3e38, 3e38), shape: [2] }, { scheme: "float-offset" }),
      "wider than float32",
    ],
    [
      "nonFinite",
      () => engine.range(x, loose({ nonFinite: "skip" })),
      'nonFinite: "skip" given; error, ignore are allowed',
    ],
    [
      "granularity",
      () => engine.quantize(x, loose({ granularity: "tensor" })),
      "granularity: no such option; there are axis, blockSize",
    ],
    ["scale", () => engine.quantize(x, { scale: 0 }), "scale: 0 given; scales are finite float32 numbers other than 0"],
    ["scale", () => engine.quantize(x, { scale: Number.NaN }), "scale: NaN given"],
    ["scale", () => engine.quantize(x, { scale: 1e39 }), "scale: Infinity given"],
    ["scale", () => engine.quantize(x, { scale: 1e-50 }), "scale: 0 given"],
    [
      "scale",
      () => engine.quantize(x, { axis: 1, scale: 1 }),
      "scale: one number given; this axis and block size make 3 groups",
    ],
    [
      "scale",
      () => engine.quantize(x, { axis: 1, scale: [1, 2] }),
      "scale: 2 values given; this axis and block size make 3 groups",
    ],
    [
      "scale",
      () => engine.quantize(x, { scheme: "float-offset", scale: 1 }),
      "scale: float-offset makes its own from a range",
    ],
    ["zeroPoint", () => engine.quantize(x, { zeroPoint: 1 }), "zeroPoint: goes with scale"],
    [
      "zeroPoint",
      () => engine.quantize(x, { scale: 1, zeroPoint: 128 }),
      "zeroPoint: 128 given; whole numbers -128 to 127 are allowed",
    ],
    ["zeroPoint", () => engine.quantize(x, { scale: 1, zeroPoint: 0.5 }), "zeroPoint: 0.5 given"],
    ["range", () => engine.quantize(x, { range: { min: 1, max: 0 } }), "range: 1 to 0 given for group 0"],
    [
      "range",
      () => engine.quantize(x, { range: { min: 0, max: Number.POSITIVE_INFINITY } }),
      "range: 0 to Infinity given",
    ],
    ["range", () => engine.quantize(x, { scale: 1, range: { min: 0, max: 1 } }), "range: scale says it already"],
    [
      "range.min",
      () => engine.quantize(x, { axis: 1, range: { min: [0], max: [1, 1, 1] } }),
      "range.min: 1 values given",
    ],
    [
      "out",
      () => engine.quantize(x, { out: new Int8Array(23) }),
      "out: Int8Array of length 23 given; int8 of shape [2, 3, 4] takes an Int8Array of length 24",
    ],
    ["out", () => engine.quantize(x, loose({ out: new Uint8Array(24) })), "out: Uint8Array of length 24 given"],
    ["out", () => engine.quantize(x, { dtype: "int4", out: new Uint8Array(24) }), "takes a Uint8Array of length 12"],
    ["out", () => engine.dequantize(q(), { out: new Float32Array(2) }), "out: Float32Array of length 2 given"],
    [
      "dtype",
      () => engine.dequantize(q(), loose({ dtype: "float64" })),
      'dtype: "float64" given; float32, float16, bfloat16 are allowed',
    ],
    [
      "scale",
      () => engine.dequantize({ ...q(), scale: Float32Array.of(1) }),
      "scale: Float32Array of length 1 given; a tensor of 3 groups takes a Float32Array of length 3",
    ],
    [
      "zeroPoint",
      () => engine.dequantize({ ...q(), zeroPoint: new Int32Array(4) }),
      "zeroPoint: Int32Array of length 4 given; a tensor of 3 groups takes an Int32Array of length 3",
    ],
    [
      "data",
      () => engine.dequantize({ ...q(), shape: [4, 3, 4] }),
      "data: Int8Array of length 24 given; int8 of shape [4, 3, 4] takes",
    ],
    ["axis", () => engine.dequantize({ ...q(), axis: 7 }), "axis: 7 given"],
    ["shape", () => engine.error(x, { data, shape: [24] }), "shape: [2, 3, 4] cannot be compared with [24]"],
    ["dtype", () => engine.allocate(loose({}), [2]), "dtype: [object Object] given"],
    ["shape", () => engine.allocate("float32", [-1]), "shape: [-1] given"],
    ["shape", () => engine.allocate("float32", [2n as unknown as number]), "shape: [2] given"],
    ["scale", () => engine.quantizeBias(x, { scale: 0 }), "scale: 0 given"],
    ["scale", () => engine.quantizeBias(x, loose({})), "scale: undefined values given"],
    [
      "zeroPoint",
      () => engine.dequantize(loose({ ...q(), zeroPoint: new Uint8Array(3) })),
      "Uint8Array of length 3 given",
    ],
    ["scale", () => engine.error(x, loose({ ...q(), scale: new Float64Array(3) })), "Float64Array of length 3 given"],
    ["scale", () => engine.dequantize(loose({ ...q(), scale: [1, 2, 3] })), "Array of length 3 given"],
    ["min", () => engine.dequantize({ ...q(), min: new Float32Array(3) }), "goes with the scheme float-offset"],
    ["min", () => engine.dequantize({ ...q(), scheme: "float-offset" }), "goes with the scheme float-offset"],
    [
      "tensor",
      () => engine.range(loose(Float32Array.of(1, 2))),
      "got a Float32Array without a shape: write { data, shape: [2] }",
    ],
    [
      "tensor",
      () => engine.quantize(loose([[1, 2, 3]] as never)),
      "got nested arrays: write { data: Float32Array.from(array.flat(Infinity)), shape: [1, 3] }",
    ],
    ["tensor", () => engine.quantize(loose([1, 2] as never)), "write { data: Float32Array.from(array), shape: [2] }"],
    [
      "tensor",
      () => engine.range(loose({ data: Float32Array.of(1), dims: [1], type: "float32" })),
      "got dims: write { data: tensor.data, shape: tensor.dims }",
    ],
    ["tensor", () => engine.range(loose(undefined as never)), "expected { data, shape }; got undefined"],
    ["tensor", () => engine.dequantize(loose(null as never)), "null given; a quantized tensor is wanted"],
    ["options", () => engine.quantize(x, loose(null as never)), "null given; an object is wanted"],
    ["reduceRange", () => engine.quantize(x, loose({ reduceRange: "no" })), "no given; true and false are allowed"],
    ["dtype", () => engine.quantize(x, loose({ dtype: 1n })), "1 given; int8"],
    [
      "shape",
      () => engine.range({ data: new Float32Array(0), shape: [2 ** 40, 0] }, { axis: 0 }),
      "[1099511627776,0] given",
    ],
    ["blockSize", () => engine.error(x, q(), { blockSize: 0 }), "blockSize: 0 given"],
  ])("%s", (argument, call, message) => {
    let thrown: unknown;
    try {
      call();
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(ArgumentError);
    expect((thrown as ArgumentError).message).toContain(message);
    expect((thrown as ArgumentError).argument).toBe(argument);
    expect(isWasmQuantError(thrown, "argument")).toBe(true);
  });

  it("NaN and infinities when a range is sought, with the place of the first", () => {
    const large = new Float32Array(200_000).fill(1);
    large[150_001] = Number.NEGATIVE_INFINITY;
    large[150_100] = Number.NaN;
    for (const find of [
      () => engine.range({ data: large, shape: [200_000], name: "conv.weight" }),
      () => engine.quantize({ data: large, shape: [200_000], name: "conv.weight" }),
      () =>
        engine.quantize({ data: large, shape: [2, 100_000], name: "conv.weight" }, { axis: 0, scheme: "asymmetric" }),
      () => engine.quantize({ data: large, shape: [50_000, 4], name: "conv.weight" }, { axis: 1 }),
    ]) {
      expect(find).toThrow(NonFiniteError);
      expect(find).toThrow('tensor "conv.weight" holds -Infinity at flat index 150001; a range needs finite values');
    }
    expect(() => engine.range({ data: Float32Array.of(Number.NaN), shape: [] })).toThrow(
      "tensor holds NaN at flat index 0",
    );
  });

  it("a half-precision NaN too, though its bits are an ordinary number", () => {
    const half = { dtype: "float16", data: Uint16Array.of(0x3c00, 0x7e00), shape: [2] } as const;
    expect(() => engine.range(half)).toThrow("holds NaN at flat index 1");
  });
});
