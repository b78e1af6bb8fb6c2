import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { bytesSink, type QuantizeModelOptions, quantizeModel } from "../../src/index.ts";
import { fileSink, fileSource } from "../../src/node.ts";
import { f32, safetensorsFile } from "../helpers/checkpoints.ts";
import { runnerIn } from "../helpers/command.ts";
import { contents, convert, engine, f64, ids, odd, reference } from "../helpers/half-reference.ts";
import { DEFLATED, npy, zip } from "../helpers/npz.ts";
import { differenceOf } from "../helpers/onnx-values.ts";
import { builtPool } from "../helpers/pools.ts";
import { differingFile, indexSource, readFiles, shardedCheckpoint, writeFiles } from "../helpers/shards.ts";

describe("which tensors", () => {
  it("globs say", async () => {
    const input = await safetensorsFile([f32("a.w", [4]), f32("a.b", [4]), f32("c", [4])]);
    const done = async (options: QuantizeModelOptions) =>
      (await convert(input, options)).report.tensors.map(({ to }) => to).join();
    expect(await done({ include: ["a.*"] })).toBe("F16,F16,F32");
    expect(await done({ include: ["a.*"], exclude: ["*b"] })).toBe("F16,F32,F32");
    await expect(done({ exclude: ["x"] })).rejects.toThrow('exclude: "x" matches no tensor');
    const halves = (await convert(input, { include: ["c"] })).file;
    await expect(convert(halves, { include: ["c"] })).rejects.toThrow(
      'include: "c" leaves nothing to convert (c: F16 already)',
    );
  });

  it("none: the file comes out as it was", async () => {
    const input = await safetensorsFile([f32("w", [4, 64]), ids], { format: "pt" });
    expect((await convert(input, { exclude: ["w"] })).file).toEqual(input);
  });
});

describe("options", () => {
  it.each([
    [{ scheme: "symmetric" }, "scheme: is for integers; float16 has no scales"],
    [{ perChannel: true }, "perChannel: is for integers; float16 has no scales"],
    [{ axis: 0 }, "axis: is for integers; float16 has no scales"],
    [{ blockSize: 32 }, "blockSize: is for integers; float16 has no scales"],
    [{ reduceRange: false }, "reduceRange: is for integers; float16 has no scales"],
    [{ layout: "compressed-tensors" }, "layout: compressed-tensors is for integers; float16 has no scales"],
    [{ io: "float16" }, "io: is for ONNX models; this is a file of tensors"],
    [{ dtype: "int8", clamp: true }, "clamp: is for float16 and bfloat16"],
    [{ clamp: 1 as unknown as boolean }, "clamp: 1 given; true and false are allowed"],
  ] as [QuantizeModelOptions, string][])("%j has no place here", async (options, message) => {
    const input = await safetensorsFile([f32("w", [4, 64])]);
    await expect(convert(input, options)).rejects.toThrow(message);
  });
});

describe("NumPy files", () => {
  it(".npy becomes a safetensors file", async () => {
    const { values } = f32("", [16, 20]);
    const { file } = await convert(npy("<f4", [16, 20], values), {}, "folder/weights.npy");
    expect((await contents(file)).byName.get("weights")).toMatchObject({
      dtype: "F16",
      shape: [16, 20],
      bytes: reference(values, [16, 20], "float16").bytes,
    });
    await expect(convert(npy("<f2", [2], Uint16Array.of(1, 2)), {}, "h.npy")).rejects.toThrow(
      /^h\.npy: 0 of 1 tensors converted: F16 already$/,
    );
  });

  it(".npz, deflated and of several windows, too", async () => {
    const [a, b] = [f32("a", [5, 2 ** 20]), f32("b", [9], 2)];
    const member = Buffer.concat([npy("<f4", a.shape, new Float32Array()), a.data]);
    const input = await zip(
      ["a.npy", member, { ...DEFLATED, level: 1 }],
      ["b.npy", npy("<f8", b.shape, Float64Array.from(b.values))],
    );
    const { file } = await convert(input, { memory: 1 }, "m.npz");
    const { byName } = await contents(file);
    for (const { name, shape, values } of [a, b]) {
      const expected = reference(values, shape, "float16");
      expect(differenceOf(byName.get(name)!.bytes, expected.bytes)).toBeUndefined();
    }
  });
});

describe("files", () => {
  const INDEX = "model.safetensors.index.json";
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "wasm-quant-"));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));
  const at = (name: string) => join(folder, name);
  const run = runnerIn(() => folder);

  it("in shards become as many, the same for any number of threads", async () => {
    const shards = [
      await safetensorsFile([f32("a.weight", odd), ids], { format: "pt" }),
      await safetensorsFile([f64("b", [8, 64], Float64Array.from(f32("", [8, 64], 4).values)), f32("c", [], 5)]),
    ];
    const checkpoint = await shardedCheckpoint(shards);
    const sink = bytesSink("model.half.safetensors.index.json");
    const report = await quantizeModel(engine, indexSource(checkpoint), sink, { dtype: "bfloat16" });
    const names = ["model.half-00001-of-00002.safetensors", "model.half-00002-of-00002.safetensors"];
    for (const [i, shard] of shards.entries()) {
      expect(Buffer.compare(sink.result(names[i]!)!, (await convert(shard, { dtype: "bfloat16" })).file)).toBe(0);
    }
    const index = JSON.parse(new TextDecoder().decode(sink.result()));
    expect(index.weight_map).toEqual({ "a.weight": names[0], ids: names[0], b: names[1], c: names[1] });
    expect(index.metadata.total_size).toBe(2 * 3 * 1027 * 1023 + 16 + 2 * 8 * 64 + 2);

    await writeFiles(folder, checkpoint);
    const made = { "model.half.safetensors.index.json": sink.result() };
    const wanted = { ...checkpoint, ...made, ...Object.fromEntries(names.map((name) => [name, sink.result(name)!])) };
    for (const [threads, memory] of [
      [1, 1],
      [2, 1e9],
      [7, 1e6],
    ] as const) {
      await using workers = builtPool(threads);
      const source = await fileSource(at(INDEX));
      const output = await fileSink(at("model.half.safetensors.index.json"), { overwrite: true });
      expect(await quantizeModel(engine, source, output, { dtype: "bfloat16", workers, memory })).toEqual(report);
      await source.close();
      expect(differingFile(wanted, await readFiles(folder))).toBeUndefined();
    }
  });

  it("are converted by the command, which says what it cost", async () => {
    const weight = f32("w", [64, 64]);
    weight.values[5] = 1e-9;
    const input = await safetensorsFile([weight, ids]);
    await writeFile(at("m.safetensors"), input);
    const { code, stdout, stderr } = await run("m.safetensors", "--dtype", "float16");
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/\nm\.float16\.safetensors: 1 of 2 tensors converted, /);
    expect(stdout).toMatch(/\ntoo small for float16, now 0: w \(1 of 4096\)\n/);
    const { file } = await convert(input);
    expect(Buffer.compare(await readFile(at("m.float16.safetensors")), file)).toBe(0);
    const again = await run("m.float16.safetensors", "--dtype", "float16", "--threads", "2");
    expect(again).toEqual({
      code: 1,
      stdout: "",
      stderr:
        "wasm-quant: m.float16.safetensors: 0 of 2 tensors converted: F16 already (1), not float (1); " +
        "--allow-unchanged copies it as it is\n",
    });
    const copied = await run("m.float16.safetensors", "--dtype", "float16", "--allow-unchanged");
    expect(copied.stdout).toMatch(/\nnothing to do: the file was copied as it is\n/);
  });

  it("are not, where a number does not fit: the command knows the cure", async () => {
    const weight = f32("w", [4, 64]);
    weight.values[77] = 70_000;
    await writeFile(at("m.safetensors"), await safetensorsFile([weight]));
    for (const threads of ["1", "2"]) {
      expect(await run("m.safetensors", "--dtype", "float16", "--threads", threads)).toEqual({
        code: 1,
        stdout: "",
        stderr:
          'wasm-quant: m.safetensors: tensor "w": 70000 at flat index 77 is beyond float16 (up to 65504); ' +
          "--clamp makes it that, --exclude leaves it as it is\n",
      });
    }
    expect(Object.keys(await readFiles(folder))).toEqual(["m.safetensors"]);
    expect((await run("m.safetensors", "--dtype", "float16", "--clamp")).code).toBe(0);
    expect((await run("m.safetensors", "--dtype", "float16", "--exclude", "w", "--force")).code).toBe(1);
    for (const args of [["--per-tensor"], ["--symmetric"], ["--layout", "compressed-tensors"]]) {
      const { code, stderr } = await run("m.safetensors", "--dtype", "bfloat16", ...args);
      expect(code).toBe(2);
      expect(stderr).toContain(`${args[0]}: `);
      expect(stderr).toContain("is for integers; bfloat16 has no scales");
    }
  });
});
