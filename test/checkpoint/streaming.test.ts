import { describe, expect, it } from "vitest";
import {
  bytesSink,
  bytesSource,
  createEngine,
  dequantizeModel,
  type QuantizeModelOptions,
  quantizeModel,
  readSafetensorsHeader,
  type SafetensorsDType,
} from "../../src/index.ts";
import { safetensorsFile } from "../helpers/checkpoints.ts";
import { differenceOf } from "../helpers/onnx-values.ts";
import { normalsOf } from "../helpers/random.ts";

const engine = await createEngine();

/** Less than any tensor of several windows: everything that reaches beyond a window takes two passes. */
const TINY = 1;

async function quantize(file: Uint8Array, options: QuantizeModelOptions) {
  const sink = bytesSink();
  const report = await quantizeModel(engine, bytesSource(file, "model.safetensors"), sink, options);
  return { report, file: sink.result() };
}

async function tensorsOf(file: Uint8Array) {
  const { tensors } = await readSafetensorsHeader(bytesSource(file));
  return new Map(tensors.map(({ name, start, end }) => [name, file.slice(start, end)]));
}

function encoded(values: Float32Array, dtype: SafetensorsDType): Uint8Array {
  const shape = [values.length];
  if (dtype === "F64") return new Uint8Array(Float64Array.from(values).buffer);
  if (dtype === "F32") return new Uint8Array(values.slice().buffer);
  const out = new Uint16Array(values.length);
  engine.convertToHalf({ data: values, shape }, { dtype: dtype === "F16" ? "float16" : "bfloat16", out });
  return new Uint8Array(out.buffer);
}

async function fileOf(shape: readonly number[], dtype: SafetensorsDType = "F32") {
  const length = shape.reduce((a, b) => a * b, 1);
  const values = normalsOf(3, length);
  const file = await safetensorsFile([{ name: "w", dtype, shape, data: encoded(values, dtype) }]);
  return { values, file };
}

const wide = [1030, 1021]; // a little more than a window
const odd = [3, 1027, 1023]; // rows of an odd length: windows of 4-bit codes begin within a byte

describe.each([
  [wide, {}],
  [wide, { perChannel: false }],
  [wide, { axis: 1 }],
  [wide, { axis: 1, dtype: "uint8" }],
  [wide, { axis: 1, scheme: "float-offset" }],
  [wide, { blockSize: 32, dtype: "int4" }],
  [wide, { blockSize: 48, axis: 0, dtype: "uint4" }],
  [wide, { blockSize: 1025, axis: 0, dtype: "int8" }],
  [wide, { dtype: "int16", perChannel: false }],
  [odd, { dtype: "int4" }],
  [odd, { dtype: "uint4", axis: 1 }],
  [odd, { dtype: "int4", axis: 2 }],
  [odd, { dtype: "int4", blockSize: 32, axis: 2 }],
  [wide, { weightRange: "mse", dtype: "int4" }],
  [wide, { weightRange: "mse", dtype: "uint4", perChannel: false }],
  [wide, { weightRange: "mse", dtype: "int4", axis: 1 }],
  [wide, { weightRange: "mse", dtype: "int4", blockSize: 1025, axis: 0 }],
  [wide, { weightRange: "percentile=99", perChannel: false }],
  [wide, { weightRange: "percentile=99.5", dtype: "uint8" }],
  [wide, { weightRange: "entropy", dtype: "uint8", perChannel: false }],
  [odd, { weightRange: "entropy", dtype: "int4" }],
  [odd, { weightRange: "mse", dtype: "uint4", scheme: "float-offset", axis: 2 }],
] as [number[], QuantizeModelOptions][])("%j, %j", (shape, options) => {
  it("comes out the same within any memory, and as the engine has it", async () => {
    const { values, file } = await fileOf(shape);
    const whole = await quantize(file, options);
    const inParts = await quantize(file, { ...options, memory: TINY });
    expect(inParts.report).toEqual(whole.report);
    expect(Buffer.compare(inParts.file, whole.file)).toBe(0);

    const { dtype = "int8", scheme, perChannel = true, axis, blockSize, weightRange } = options;
    const granularity =
      blockSize !== undefined ? { axis: axis ?? 1, blockSize } : perChannel ? { axis: axis ?? 0 } : {};
    const how = { dtype: dtype as "int8", scheme, range: weightRange, ...granularity };
    const q = engine.quantize({ data: values, shape }, how);
    const written = await tensorsOf(whole.file);
    expect(differenceOf(written.get("w")!, new Uint8Array(q.data.buffer))).toBeUndefined();
    expect(differenceOf(written.get("w.scale")!, new Uint8Array(q.scale.buffer))).toBeUndefined();
    const { sqnr, maxAbs } = engine.error({ data: values, shape }, q);
    expect(whole.report.tensors[0]).toMatchObject({ sqnr, maxAbs });

    const back = bytesSink();
    await dequantizeModel(engine, bytesSource(whole.file), back);
    const restored = (await tensorsOf(back.result())).get("w")!;
    expect(differenceOf(restored, new Uint8Array(engine.dequantize(q).data.buffer))).toBeUndefined();
  });
});

describe("ranges by method", () => {
  it("say what they gained", async () => {
    const { file } = await fileOf(wide);
    const { sqnr: before } = (await quantize(file, { dtype: "int4" })).report.tensors[0]!;
    for (const memory of [undefined, TINY]) {
      const { report } = await quantize(file, { dtype: "int4", weightRange: "mse", memory });
      const { sqnr, rangeGain } = report.tensors[0]!;
      expect(rangeGain).toBeGreaterThan(1);
      expect(rangeGain).toBeCloseTo(sqnr! - before!, 3);
    }
  });

  it("leave out what is not finite, within any memory", async () => {
    const { values } = await fileOf(wide);
    values[77] = Number.NaN;
    values[1_050_001] = Number.NEGATIVE_INFINITY;
    const file = await safetensorsFile([{ name: "w", dtype: "F32", shape: wide, data: encoded(values, "F32") }]);
    for (const weightRange of ["mse", "percentile=98", "entropy"] as const) {
      const options = { weightRange, dtype: "int4", perChannel: false, nonFinite: "ignore" } as const;
      const whole = await quantize(file, options);
      const inParts = await quantize(file, { ...options, memory: TINY });
      expect(Buffer.compare(inParts.file, whole.file)).toBe(0);
    }
  });

  it("that take a histogram for each of many channels are refused where memory does not hold these", async () => {
    const { file } = await fileOf(wide);
    await expect(quantize(file, { weightRange: "entropy", axis: 1, memory: TINY })).rejects.toThrow(
      'model.safetensors: tensor "w": entropy takes a histogram for each of 1021 channels, more than memory allows; raise it, or take mse',
    );
  });

  it.each([
    [
      { weightRange: "entropy", blockSize: 32 },
      "weightRange: entropy needs 2048 values or more; blocks have 32: take mse",
    ],
    [{ weightRange: "best" }, 'weightRange: expected one of minmax, mse, entropy, percentile=P; got "best"'],
    [{ weightRange: "mse", dtype: "float16" }, "weightRange: is for integers; float16 has no scales"],
  ])("%o is refused", async (options, message) => {
    const { file } = await fileOf([4, 4]);
    await expect(quantize(file, options as QuantizeModelOptions)).rejects.toThrow(message);
  });
});

describe.each(["F16", "BF16", "F64"] as const)("%s", (dtype) => {
  it("is quantized window by window as at once", async () => {
    const { file } = await fileOf(wide, dtype);
    for (const options of [{}, { perChannel: false }, { dtype: "int4", blockSize: 32 }] as const) {
      const whole = await quantize(file, options);
      const inParts = await quantize(file, { ...options, memory: TINY });
      expect(inParts.report).toEqual(whole.report);
      expect(Buffer.compare(inParts.file, whole.file)).toBe(0);
    }
  });
});

describe("NaN and infinities", () => {
  const at = 1_050_001; // in the second window
  const withNaN = async () => {
    const { values } = await fileOf(wide);
    values[at] = Number.NaN;
    return safetensorsFile([{ name: "w", dtype: "F32", shape: wide, data: encoded(values, "F32") }]);
  };

  it.each([{}, { perChannel: false }, { axis: 1, memory: TINY }])(
    "are told by their place in the tensor, %j",
    async (options) => {
      await expect(quantize(await withNaN(), options)).rejects.toThrow(
        `model.safetensors: tensor "w": holds NaN at flat index ${at}`,
      );
    },
  );

  it("are left out where that is asked for, in one pass and in two", async () => {
    const options = { nonFinite: "ignore", axis: 1, dtype: "uint8" } as const;
    const [whole, inParts] = [
      await quantize(await withNaN(), options),
      await quantize(await withNaN(), { ...options, memory: TINY }),
    ];
    expect(Buffer.compare(inParts.file, whole.file)).toBe(0);
  });
});

it("a float64 beyond float32 is told by its place in the tensor", async () => {
  const values = new Float64Array(1030 * 1021);
  values[1_050_001] = 1e300;
  const data = new Uint8Array(values.buffer);
  const file = await safetensorsFile([{ name: "w", dtype: "F64", shape: wide, data }]);
  for (const memory of [undefined, TINY]) {
    await expect(quantize(file, { memory })).rejects.toThrow(
      'tensor "w": 1e+300 at flat index 1050001 does not fit float32',
    );
  }
});

describe("memory", () => {
  it.each([0, -1, 1.5, Number.NaN])("%s is no number of bytes", async (memory) => {
    const { file } = await fileOf([4, 64]);
    await expect(quantize(file, { memory })).rejects.toThrow("memory:");
  });
});
