import { describe, expect, it } from "vitest";
import { decodeHalf } from "../../src/formats/half-arrays.ts";
import {
  bytesSink,
  bytesSource,
  dequantizeModel,
  type HalfDType,
  inspectModel,
  quantizeModel,
} from "../../src/index.ts";
import { f32, safetensorsFile } from "../helpers/checkpoints.ts";
import { bytes, contents, convert, engine, f64, ids, odd, reference, scalar } from "../helpers/half-reference.ts";
import { differenceOf } from "../helpers/onnx-values.ts";
import { normals, randomOf } from "../helpers/random.ts";
import { remarksOf } from "../helpers/remarks.ts";

const dtypes = ["float16", "bfloat16"] as const;

const storedAs = { float16: "F16", bfloat16: "BF16" } as const;

const wide = [1030, 1021];

const bitsOf = (stored: Uint8Array) => [...new Uint16Array(stored.slice().buffer)];

const formats = { float16: { least: -14, bits: 10 }, bfloat16: { least: -126, bits: 7 } } as const;

/** The bits of the half nearest to a float64, of two the even one. */
function nearest(value: number, dtype: HalfDType): number {
  const { least, bits } = formats[dtype];
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.abs(value);
  const exponent = Math.max(least, Math.floor(Math.log2(size)));
  const steps = size * 2 ** (bits - exponent); // exact: a power of two
  const down = Math.floor(steps);
  const up = steps - down > 0.5 || (steps - down === 0.5 && down % 2 === 1);
  return sign | ((exponent - least) * 2 ** bits + down + (up ? 1 : 0));
}

describe.each(dtypes)("float32 to %s", (dtype) => {
  it.each([[[]], [[7]], [[2 ** 21 + 3]], [wide], [odd], [[5, 0, 3]]])("%j", async (shape) => {
    const weight = f32("w", shape);
    const input = await safetensorsFile([weight], { format: "pt" });
    const whole = await convert(input, { dtype });
    const inParts = await convert(input, { dtype, memory: 1 });
    expect(inParts.report).toEqual(whole.report);
    expect(Buffer.compare(inParts.file, whole.file)).toBe(0);

    const { metadata, byName } = await contents(whole.file);
    expect(metadata).toEqual({ format: "pt" });
    const [told] = whole.report.tensors;
    if (shape.includes(0)) {
      expect(whole.file).toEqual(input);
      expect(told).toMatchObject({ from: "F32", to: "F32", reason: "empty" });
      return;
    }
    const expected = reference(weight.values, shape, dtype);
    expect(byName.get("w")).toMatchObject({ dtype: storedAs[dtype], shape });
    expect(differenceOf(byName.get("w")!.bytes, expected.bytes)).toBeUndefined();
    const { length } = weight.values;
    const sizes = { bytesBefore: 4 * length, bytesAfter: 2 * length };
    expect(told).toEqual({ name: "w", shape, from: "F32", to: storedAs[dtype], ...sizes, ...expected.loss });
  });

  it("copies what is no other float, and keeps names, order and metadata", async () => {
    const halves = { name: "h", dtype: "F16", shape: [3], data: new Uint8Array(6).fill(0x3c) } as const;
    const brains = { ...halves, name: "b", dtype: "BF16" } as const;
    const [a, z] = [f32("a", [3]), f32("z.weight", [4, 5], 2)];
    const input = await safetensorsFile([halves, a, ids, z, brains], { format: "pt", note: "ü" });
    const { file, report } = await convert(input, { dtype });
    const { metadata, byName } = await contents(file);
    expect(metadata).toEqual({ format: "pt", note: "ü" });
    expect([...byName.keys()]).toEqual(["h", "a", "ids", "z.weight", "b"]);
    const [same, other] = dtype === "float16" ? [halves, brains] : [brains, halves];
    for (const { name, dtype: type, data } of [same, ids]) {
      expect(byName.get(name)).toMatchObject({ dtype: type, bytes: data });
    }
    expect(report).toMatchObject({ bytesBefore: input.length, bytesAfter: file.length, remarks: [] });
    expect(report.tensors.map(({ name, reason }) => [name, reason])).toEqual(
      ["h", "a", "ids", "z.weight", "b"].map((name) => [
        name,
        { [same.name]: `${same.dtype} already`, ids: "not float" }[name],
      ]),
    );
    for (const name of ["a", "z.weight", other.name]) {
      expect(byName.get(name)!.dtype).toBe(storedAs[dtype]);
      expect(report.tensors.find((tensor) => tensor.name === name)!.to).toBe(storedAs[dtype]);
    }
  });

  it("is not what was quantized, and nothing to quantize twice", async () => {
    const input = await safetensorsFile([f32("w", [8, 64])]);
    const { file } = await convert(input, { dtype });
    await expect(dequantizeModel(engine, bytesSource(file), bytesSink())).rejects.toThrow(
      "was not quantized by wasm-quant",
    );
    expect(await inspectModel(engine, bytesSource(file))).toMatchObject({
      tensors: [{ name: "w", dtype: storedAs[dtype], shape: [8, 64] }],
    });
    expect((await convert(file, { dtype })).file).toEqual(file);
    await expect(convert(file, { dtype, allowUnchanged: false })).rejects.toMatchObject({
      tag: "unchanged",
      detail: `0 of 1 tensors converted: ${storedAs[dtype]} already`,
    });
    const codes = await convert(input, { dtype: "int8" });
    await expect(convert(codes.file, { dtype })).rejects.toThrow("is quantized already");
  });
});

describe.each(dtypes)("the other halves to %s", (dtype) => {
  const [from, source] = dtype === "float16" ? (["bfloat16", "BF16"] as const) : (["float16", "F16"] as const);
  const file = (shape: readonly number[], bits: Uint16Array) =>
    safetensorsFile([{ name: "w", dtype: source, shape, data: bytes(bits) }]);

  it("are those of their values, window by window too", async () => {
    const { values } = f32("w", wide);
    const bits = new Uint16Array(values.length);
    scalar.convertToHalf({ data: values, shape: wide }, { dtype: from, out: bits });
    const widened = decodeHalf(bits, from);
    const expected = reference(widened, wide, dtype);
    const input = await file(wide, bits);
    for (const memory of [1, undefined]) {
      const { file, report } = await convert(input, { dtype, memory });
      expect(differenceOf((await contents(file)).byName.get("w")!.bytes, expected.bytes)).toBeUndefined();
      expect(report.tensors).toMatchObject([{ from: source, to: storedAs[dtype], ...expected.loss }]);
    }
  });

  it("keep NaN and infinities; every one of 65536 is the nearest", async () => {
    const bits = Uint16Array.from({ length: 65536 }, (_, i) => i);
    const values = decodeHalf(bits, from);
    const { file: made, report } = await convert(await file([65536], bits), { dtype, clamp: true });
    const largest = dtype === "float16" ? 65504 : Number.POSITIVE_INFINITY;
    const clamped = values.map((x) => (Number.isFinite(x) ? Math.min(Math.max(x, -largest), largest) : x));
    const expected = reference(clamped, [65536], dtype);
    expect(differenceOf((await contents(made)).byName.get("w")!.bytes, expected.bytes)).toBeUndefined();
    const nonFinite = values.filter((x) => !Number.isFinite(x)).length;
    expect(remarksOf(report)).toContain(`NaN or infinite, as before: w (${nonFinite} of 65536)`);
    expect(report.tensors[0]!.sqnr).not.toBeNaN();
  });
});

it("a bfloat16 beyond float16 is told by its value", async () => {
  const bits = new Uint16Array(70).fill(0x3f80);
  bits[68] = 0xc780; // -65536
  const input = await safetensorsFile([{ name: "w", dtype: "BF16", shape: [70], data: bytes(bits) }]);
  await expect(convert(input)).rejects.toThrow(
    'tensor "w": -65536 at flat index 68 is beyond float16 (up to 65504); clamp: true makes it that',
  );
  const { file, report } = await convert(input, { clamp: true });
  expect(bitsOf((await contents(file)).byName.get("w")!.bytes)[68]).toBe(0xfbff);
  expect(remarksOf(report)).toEqual(["beyond float16, now its largest: w (1 of 70, such as -65536)"]);
});

describe.each(dtypes)("float64 to %s", (dtype) => {
  it("is rounded once", async () => {
    const { bits } = formats[dtype];
    // Next to what lies in the middle of two halves, nearer than float32 can tell.
    const middle = 1 + 2 ** -(bits + 1);
    const ties = [middle, middle + 2 ** -50, middle - 2 ** -50, 1 + 3 * 2 ** -(bits + 1) - 2 ** -51];
    const small = [2 ** -25, 2 ** -25 + 2 ** -70, 1e-42, 2 ** -134, 2 ** -134 + 2 ** -180, 1e-300, 5e-324, 0, -0];
    const special = [...ties, ...small].flatMap((x) => [x, -x]);
    const values = Float64Array.from(normals(randomOf(3), 1030 * 1021), (x, i) => x * (1 + i * 1e-13));
    values.set(special);
    const input = await safetensorsFile([f64("w", wide, values)]);
    const { file, report } = await convert(input, { dtype });
    const expected = Uint16Array.from(values, (value) => nearest(value, dtype));
    expect(differenceOf((await contents(file)).byName.get("w")!.bytes, bytes(expected))).toBeUndefined();
    expect(report.tensors[0]).toMatchObject({ from: "F64", to: storedAs[dtype], bytesBefore: 8 * values.length });
    expect(report.tensors[0]!.sqnr).toBeGreaterThan(dtype === "float16" ? 70 : 50);
    const inParts = await convert(input, { dtype, memory: 1 });
    expect(inParts.report).toEqual(report);
    expect(Buffer.compare(inParts.file, file)).toBe(0);
  });

  it("beyond float32 is refused by its own value, or clamped", async () => {
    const values = new Float64Array(1030 * 1021).fill(0.5);
    values.set([1e300, -1e300], 1_050_000);
    const input = await safetensorsFile([f64("w", wide, values)]);
    await expect(convert(input, { dtype })).rejects.toThrow(
      `tensor "w": 1e+300 at flat index 1050000 is beyond ${dtype} (up to `,
    );
    const { file, report } = await convert(input, { dtype, clamp: true });
    const found = bitsOf((await contents(file)).byName.get("w")!.bytes);
    expect(found.slice(1_050_000, 1_050_002)).toEqual(dtype === "float16" ? [0x7bff, 0xfbff] : [0x7f7f, 0xff7f]);
    expect(remarksOf(report)).toEqual([`beyond ${dtype}, now its largest: w (2 of ${values.length}, such as 1e+300)`]);
  });
});

describe("numbers beyond float16", () => {
  const at = 1_050_001; // in the second window
  const withValue = (value: number) => {
    const weight = f32("layer.weight", wide);
    weight.values[at] = value;
    return safetensorsFile([f32("a", [64], 4), weight]);
  };

  it.each([70_000, -65_520, 1e9, -3.4028234663852886e38])(
    "are refused with their place and a cure: %d",
    async (value) => {
      const input = await withValue(value);
      for (const memory of [undefined, 1]) {
        const sink = bytesSink();
        const run = quantizeModel(engine, bytesSource(input, "m.safetensors"), sink, { dtype: "float16", memory });
        await expect(run).rejects.toThrow(
          `m.safetensors: tensor "layer.weight": ${value} at flat index ${at} is beyond float16 (up to 65504); ` +
            "clamp: true makes it that, exclude leaves it as it is",
        );
        expect(sink.result().length).toBe(0);
      }
      const { report } = await convert(input, { exclude: ["layer.*"] });
      expect(report.tensors[1]).toMatchObject({ to: "F32", reason: "excluded" });
    },
  );

  it("become its largest where that is wanted, and are told of", async () => {
    const input = await withValue(-70_000);
    const { file, report } = await convert(input, { clamp: true });
    expect(bitsOf((await contents(file)).byName.get("layer.weight")!.bytes)[at]).toBe(0xfbff);
    expect(report.tensors[1]).toMatchObject({ maxAbs: 70_000 - 65_504 });
    expect(remarksOf(report)).toContain(
      `beyond float16, now its largest: layer.weight (1 of ${1030 * 1021}, such as -70000)`,
    );
    const inParts = await convert(input, { clamp: true, memory: 1 });
    expect(inParts.report).toEqual(report);
    expect(Buffer.compare(inParts.file, file)).toBe(0);
  });

  it("are no trouble where they round to it, nor in bfloat16", async () => {
    const { file } = await convert(await withValue(65_519.9));
    expect(bitsOf((await contents(file)).byName.get("layer.weight")!.bytes)[at]).toBe(0x7bff);
    const brain = await convert(await withValue(-3.4028234663852886e38), { dtype: "bfloat16" });
    expect(bitsOf((await contents(brain.file)).byName.get("layer.weight")!.bytes)[at]).toBe(0xff7f);
    expect(remarksOf(brain.report)[0]).toMatch(/^beyond bfloat16, now its largest: layer.weight \(1 of /);
  });
});

it("NaN and infinities stay; what became 0 or lost bits is counted", async () => {
  const values = Float32Array.of(Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 1, 1e-9, -1e-5, 0);
  const input = await safetensorsFile([{ name: "w", dtype: "F32", shape: [7], data: bytes(values) }]);
  for (const clamp of [false, true]) {
    const { file, report } = await convert(input, { clamp });
    expect(bitsOf((await contents(file)).byName.get("w")!.bytes)).toEqual([
      0x7e00, 0x7c00, 0xfc00, 0x3c00, 0, 0x80a8, 0,
    ]);
    expect(remarksOf(report)).toEqual([
      "NaN or infinite, as before: w (3 of 7)",
      "too small for float16, now 0: w (1 of 7)",
      "too small to keep all bits in float16: w (1 of 7)",
    ]);
    expect(report.tensors[0]!.sqnr).toBeGreaterThan(80);
  }
});
