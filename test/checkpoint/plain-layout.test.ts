import { readFile } from "node:fs/promises";
import { beforeAll, describe, expect, it } from "vitest";
import {
  bytesSink,
  bytesSource,
  createEngine,
  dequantizeModel,
  type Engine,
  type QuantizeModelOptions,
  quantizeModel,
} from "../../src/index.ts";
import { contents, ids } from "../helpers/checkpoint-contents.ts";
import { f32, safetensorsFile } from "../helpers/checkpoints.ts";
import { unpacked } from "../helpers/reference.ts";

let engine: Engine;

beforeAll(async () => {
  engine = await createEngine();
});

async function quantize(file: Uint8Array, options: QuantizeModelOptions = {}, name = "model.safetensors") {
  const sink = bytesSink();
  const report = await quantizeModel(engine, bytesSource(file, name), sink, options);
  return { report, file: sink.result() };
}

async function dequantize(file: Uint8Array, options = {}) {
  const sink = bytesSink();
  await dequantizeModel(engine, bytesSource(file, "model.int8.safetensors"), sink, options);
  return sink.result();
}

const floats = (bytes: Uint8Array) => new Float32Array(bytes.slice().buffer);

describe("quantizing a checkpoint", () => {
  it("writes codes, scales, zero points and how to read them; copies the rest", async () => {
    const weight = f32("fc.weight", [6, 10]);
    const bias = f32("fc.bias", [6], 2);
    const input = await safetensorsFile([weight, bias, ids], { format: "pt" });
    const { file, report } = await quantize(input);
    const { metadata, byName } = await contents(file);

    const q = engine.quantize({ data: weight.values, shape: [6, 10] }, { dtype: "int8", axis: 0 });
    expect(byName.get("fc.weight")).toMatchObject({
      dtype: "I8",
      shape: [6, 10],
      bytes: new Uint8Array(q.data.buffer),
    });
    expect(byName.get("fc.weight.scale")).toMatchObject({ dtype: "F32", shape: [6] });
    expect(floats(byName.get("fc.weight.scale")!.bytes)).toEqual(q.scale);
    expect(byName.get("fc.weight.zero_point")).toMatchObject({ dtype: "I8", shape: [6], bytes: new Uint8Array(6) });
    expect(byName.get("fc.bias")!.bytes).toEqual(bias.data);
    expect(byName.get("ids")!.bytes).toEqual(ids.data);
    expect(metadata).toEqual({
      format: "pt",
      wasm_quant:
        '{"version":1,"tensors":[{"name":"fc.weight","dtype":"int8","shape":[6,10],"source":"F32","scheme":"symmetric","axis":0}]}',
    });
    expect([...byName.keys()]).toEqual(["fc.weight", "fc.weight.scale", "fc.weight.zero_point", "fc.bias", "ids"]);
    expect(report).toMatchObject({ bytesBefore: input.length, bytesAfter: file.length });
    expect(report.tensors).toMatchObject([
      { name: "fc.weight", from: "F32", to: "int8", bytesBefore: 240, bytesAfter: 60 + 24 + 6 },
      { name: "fc.bias", from: "F32", to: "F32", reason: "one dimension" },
      { name: "ids", from: "I64", to: "I64", reason: "not float" },
    ]);
    expect(report.tensors[0]!.sqnr).toBe(engine.error({ data: weight.values, shape: [6, 10] }, q).sqnr);
  });

  it.each([
    ["asymmetric", "affine"],
    ["float-offset", "minmax"],
  ] as const)("and back from what version 0.1.0 wrote, whose name for %s was %s", async (scheme, old) => {
    const input = await safetensorsFile([f32("w", [6, 10])]);
    const { file } = await quantize(input, { dtype: "uint8", scheme });
    const { metadata, byName } = await contents(file);
    expect(metadata.wasm_quant).toContain(`"scheme":"${scheme}"`);
    const former = { ...metadata, wasm_quant: metadata.wasm_quant!.replace(`"${scheme}"`, `"${old}"`) };
    const again = await safetensorsFile(
      Array.from(byName.values(), ({ name, dtype, shape, bytes }) => ({ name, dtype, shape, data: bytes })),
      former,
    );
    expect(Buffer.compare(await dequantize(again), await dequantize(file))).toBe(0);
  });

  it.each([
    [{ dtype: "uint8" }],
    [{ dtype: "int16", perChannel: false }],
    [{ dtype: "uint16", scheme: "symmetric" }],
    [{ dtype: "int4", blockSize: 4 }],
    [{ dtype: "uint4", blockSize: 5, axis: 0 }],
    [{ dtype: "int4" }],
    [{ dtype: "uint8", scheme: "float-offset" }],
    [{ dtype: "uint4", scheme: "float-offset", blockSize: 3, reduceRange: true }],
    [{ dtype: "int8", axis: -1, reduceRange: true }],
  ] as [QuantizeModelOptions][])(
    "and back, %o: the values the engine restores, all else as it was",
    async (options) => {
      const odd = f32("odd", [9, 15]);
      const deep = f32("deep", [5, 12, 3, 3], 3);
      const bias = f32("bias", [9], 2);
      const input = await safetensorsFile([bias, odd, ids, deep], { format: "pt", note: "ü" });
      const { file, report } = await quantize(input, options);
      expect(report.tensors.filter((t) => t.reason === undefined).map((t) => t.name)).toEqual(["odd", "deep"]);
      const back = await contents(await dequantize(file));
      expect(back.metadata).toEqual({ format: "pt", note: "ü" });
      expect([...back.byName.keys()]).toEqual(["bias", "odd", "ids", "deep"]);
      expect(back.byName.get("bias")!.bytes).toEqual(bias.data);
      expect(back.byName.get("ids")!.bytes).toEqual(ids.data);
      const { perChannel = true, axis, blockSize, ...rest } = options;
      for (const { name, shape, values } of [odd, deep]) {
        const granularity =
          blockSize !== undefined ? { axis: axis ?? 1, blockSize } : perChannel ? { axis: axis ?? 0 } : {};
        const q = engine.quantize({ data: values, shape }, { ...rest, ...granularity } as object);
        expect(floats(back.byName.get(name)!.bytes), name).toEqual(engine.dequantize(q).data);
        expect(back.byName.get(name)).toMatchObject({ dtype: "F32", shape });
      }
    },
  );

  it("packs 4-bit codes flat, two to a byte, in a tensor of bytes", async () => {
    const weight = f32("w", [3, 21]);
    const { file } = await quantize(await safetensorsFile([weight]), { dtype: "int4", blockSize: 21 });
    const { byName } = await contents(file);
    expect(byName.get("w")).toMatchObject({ dtype: "U8", shape: [32] });
    expect(byName.get("w.scale")).toMatchObject({ shape: [3, 1] });
    expect(byName.get("w.zero_point")).toMatchObject({ dtype: "I8", shape: [3, 1] });
    const q = engine.quantize({ data: weight.values, shape: [3, 21] }, { dtype: "int4", axis: 1, blockSize: 21 });
    expect(unpacked("int4", byName.get("w")!.bytes, 63)).toEqual(unpacked("int4", q.data, 63));
  });

  it.each(["F16", "BF16", "F64"] as const)("reads %s and restores it", async (dtype) => {
    const values = f32("w", [8, 33]).values;
    const data = {
      F16: () =>
        engine.dequantize(engine.quantize({ data: values, shape: [264] }, { dtype: "int16" }), { dtype: "float16" })
          .data,
      BF16: () => Uint16Array.from(new Uint32Array(values.buffer), (bits) => bits >>> 16),
      F64: () => Float64Array.from(values),
    }[dtype]();
    const input = await safetensorsFile([{ name: "w", dtype, shape: [8, 33], data: new Uint8Array(data.buffer) }]);
    const { file, report } = await quantize(input);
    expect(report.tensors[0]!.sqnr).toBeGreaterThan(40);
    const back = await contents(await dequantize(file));
    expect(back.byName.get("w")).toMatchObject({ dtype, shape: [8, 33] });
    const again = await quantize(await dequantize(file));
    // What is restored lies on the codes, but for the rounding of the type it is restored in.
    expect(again.report.tensors[0]!.sqnr).toBeGreaterThan(dtype === "BF16" ? 50 : 60);
  });

  it("restores the largest float16 as itself, not as infinity", async () => {
    const data = Uint16Array.from({ length: 64 }, (_, i) => (i % 2 ? 0x7bff : 0xfbff)); // +-65504
    data.fill(0x3c00, 2, 60);
    const input = await safetensorsFile([
      { name: "w", dtype: "F16", shape: [1, 64], data: new Uint8Array(data.buffer) },
    ]);
    for (const scheme of ["symmetric", "asymmetric"] as const) {
      const back = await contents(await dequantize((await quantize(input, { scheme })).file));
      const bits = new Uint16Array(back.byName.get("w")!.bytes.buffer);
      expect(
        bits.every((h) => (h & 0x7c00) !== 0x7c00),
        scheme,
      ).toBe(true);
      expect([bits[62], bits[63]].map((h) => h! & 0x7fff).every((h) => h > 0x7bc0)).toBe(true);
    }
  });

  it("reads a tensor that does not lie on a multiple of its size", async () => {
    const bytes = { name: "a", dtype: "U8", shape: [3], data: Uint8Array.of(1, 2, 3) } as const;
    const weight = f32("w", [4, 8]);
    const json = JSON.stringify({
      a: { dtype: "U8", shape: [3], data_offsets: [0, 3] },
      w: { dtype: "F32", shape: [4, 8], data_offsets: [3, 131] },
    });
    const file = new Uint8Array(8 + json.length + 131);
    new DataView(file.buffer).setBigUint64(0, BigInt(json.length), true);
    file.set(new TextEncoder().encode(json), 8);
    file.set(bytes.data, 8 + json.length);
    file.set(weight.data, 11 + json.length);
    const { report } = await quantize(file);
    const q = engine.quantize({ data: weight.values, shape: [4, 8] }, { axis: 0 });
    expect(report.tensors[1]!.sqnr).toBe(engine.error({ data: weight.values, shape: [4, 8] }, q).sqnr);
  });

  it("comes out byte for byte when there is nothing to quantize", async () => {
    const input = await safetensorsFile([f32("bias", [9]), ids], { format: "pt" });
    expect((await quantize(input, { allowUnchanged: true })).file).toEqual(input);
  });

  it("is an error, with nothing written, when there is nothing to quantize and that is not allowed", async () => {
    const input = await safetensorsFile([f32("bias", [9]), ids], { format: "pt" });
    const sink = bytesSink();
    await expect(quantizeModel(engine, bytesSource(input, "model.safetensors"), sink)).rejects.toMatchObject({
      tag: "unchanged",
      message:
        "model.safetensors: 0 of 2 tensors quantized: one dimension (1), not float (1); " +
        "allowUnchanged: true copies it as it is",
    });
    expect(sink.result()).toHaveLength(0);
    const narrow = await safetensorsFile([f32("narrow", [50, 1])]);
    await expect(quantize(narrow)).rejects.toMatchObject({
      remedy: { perChannel: false },
      message: "model.safetensors: 0 of 1 tensors quantized: would not get smaller; try { perChannel: false }",
    });
    expect((await quantize(narrow, { perChannel: false })).report.tensors).toMatchObject([{ to: "int8" }]);
  });

  it("leaves tensors alone that would not get smaller", async () => {
    const { report } = await quantize(await safetensorsFile([f32("narrow", [50, 1]), f32("w", [4, 64])]));
    expect(report.tensors).toMatchObject([{ reason: "would not get smaller" }, { to: "int8" }]);
  });

  it("goes by globs over names, whose * crosses dots and slashes", async () => {
    const file = await safetensorsFile(["a.0.w", "a.1.w", "/b/w", ".c"].map((name) => f32(name, [4, 64])));
    const odd = await safetensorsFile(["", "./x", "a\nb"].map((name) => f32(name, [4, 64])));
    expect((await quantize(odd, { exclude: ["*"], allowUnchanged: true })).file).toEqual(odd);
    const done = async (options: QuantizeModelOptions) =>
      (await quantize(file, options)).report.tensors.filter((t) => t.reason === undefined).map((t) => t.name);
    expect(await done({ include: ["a.*"] })).toEqual(["a.0.w", "a.1.w"]);
    expect(await done({ include: ["*w"], exclude: ["a.1.*"] })).toEqual(["a.0.w", "/b/w"]);
    expect(await done({ exclude: ["{a.*,*c}"] })).toEqual(["/b/w"]);
    expect(await done({ include: ["*"] })).toHaveLength(4);
    expect(await done({ include: ["**"] })).toHaveLength(4);
    await expect(done({ include: ["x*"] })).rejects.toThrow(
      'include: "x*" matches no tensor; there are a.0.w, a.1.w, /b/w, ...',
    );
    await expect(done({ exclude: ["a.*", "y"] })).rejects.toThrow('exclude: "y" matches no tensor');
  });

  it("says why an included tensor is not one to quantize", async () => {
    const file = await safetensorsFile([f32("w", [4, 64]), f32("bias", [4])]);
    await expect(quantize(file, { include: ["bias"] })).rejects.toThrow(
      'include: "bias" leaves nothing to quantize (bias: one dimension)',
    );
  });

  it("tells of its progress, and stops when asked to", async () => {
    const file = await safetensorsFile([f32("a", [4, 64]), f32("b", [4, 32])]);
    const seen: { readonly done: number; readonly total: number; readonly tensor: string }[] = [];
    await quantize(file, { onProgress: (progress) => void seen.push(progress) });
    expect(seen.map(({ tensor }) => tensor)).toEqual(["a", "b", ""]);
    expect(seen.map(({ done }) => done)).toEqual(seen.map(({ done }) => done).toSorted((a, b) => a - b));
    expect(seen[0]).toEqual({ done: 0, total: 1536, tensor: "a" });
    expect(seen.at(-1)).toEqual({ done: 1536, total: 1536, tensor: "" });
    const stop = new AbortController();
    const sink = bytesSink();
    const run = quantizeModel(engine, bytesSource(file), sink, { signal: stop.signal, onProgress: () => stop.abort() });
    await expect(run).rejects.toThrow("aborted");
    expect(sink.result().length).toBe(0);
  });

  it("tells of progress and stops while it copies, too", async () => {
    const data = new Uint8Array(40 << 20).map((_, i) => i);
    const file = await safetensorsFile([{ name: "ids", dtype: "U8", shape: [40 << 20], data }, f32("w", [4, 64])]);
    for (const exclude of [[], ["*"]]) {
      const seen: number[] = [];
      const { file: output } = await quantize(file, {
        exclude,
        allowUnchanged: true,
        onProgress: ({ done }) => void seen.push(done),
      });
      expect(seen.length).toBeGreaterThanOrEqual(4);
      expect(Buffer.compare((await contents(output)).byName.get("ids")!.bytes, data)).toBe(0);
      const stop = AbortSignal.abort();
      await expect(quantize(file, { exclude, allowUnchanged: true, signal: stop })).rejects.toThrow("aborted");
    }
  });
});

describe("a .npy file", () => {
  const npy = (values: Float32Array, shape: string) => {
    const text = `{'descr': '<f4', 'fortran_order': False, 'shape': ${shape}, }`.padEnd(117);
    const file = new Uint8Array(128 + values.byteLength);
    file.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, 118, 0]);
    file.set(new TextEncoder().encode(`${text}\n`), 10);
    file.set(new Uint8Array(values.buffer), 128);
    return file;
  };

  it("becomes a safetensors file with one tensor by its name, and .npy again", async () => {
    const { values } = f32("", [16, 20]);
    const input = npy(values, "(16, 20)");
    const { file } = await quantize(input, {}, "folder/weights.npy");
    expect([...(await contents(file)).byName.keys()]).toEqual(["weights", "weights.scale", "weights.zero_point"]);
    const back = await dequantize(file, { fileType: "npy" });
    const q = engine.quantize({ data: values, shape: [16, 20] }, { axis: 0 });
    expect(back).toEqual(npy(engine.dequantize(q).data, "(16, 20)"));
  });

  it("of one dimension is quantized as a whole", async () => {
    const { file } = await quantize(npy(f32("", [300]).values, "(300,)"), {}, "v.npy");
    expect((await contents(file)).byName.get("v.scale")!.shape).toEqual([]);
  });

  it("is not what a file of several tensors can become", async () => {
    const { file } = await quantize(await safetensorsFile([f32("a", [8, 64]), f32("b", [8, 64])]));
    await expect(dequantize(file, { fileType: "npy" })).rejects.toThrow("holds 2 tensors, a .npy file holds one");
  });
});

describe("the carried example", () => {
  it("is 4 tensors of 8, each above 40 dB, to about a quarter", async () => {
    const { report } = await quantize(await readFile("example/digits.safetensors"));
    const changed = report.tensors.filter((t) => t.reason === undefined);
    expect(changed.map((t) => t.name)).toEqual(["conv1.weight", "conv2.weight", "fc1.weight", "fc2.weight"]);
    expect(Math.min(...changed.map((t) => t.sqnr!))).toBeGreaterThan(40);
    expect(report.bytesAfter / report.bytesBefore).toBeLessThan(0.27);
  });
});
