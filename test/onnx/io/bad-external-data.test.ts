import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createEngine, type Engine } from "../../../src/engine/engine.ts";
import { bytesOf } from "../../../src/engine/tensors/tensor.ts";
import { isWasmQuantError } from "../../../src/errors.ts";
import { type ByteSource, bytesSource } from "../../../src/formats/byte-source.ts";
import { type QuantizeModelOptions, quantizeModel } from "../../../src/model.ts";
import { fileSink, fileSource } from "../../../src/node.ts";
import { type Attempt, expectRefusal, matMul, modelOf, spySink } from "../../helpers/bad-models.ts";
import { graph, node, value } from "../../helpers/onnx-build.ts";
import { tensor } from "../../helpers/onnx-tensors.ts";
import { normals, randomOf } from "../../helpers/random.ts";

// Whatever a file holds: an error of one line that names it, and nothing written; or a model, and all of it.

let engine: Engine;

beforeAll(async () => {
  engine = await createEngine();
});

async function attempt(source: Uint8Array | ByteSource, options: QuantizeModelOptions = {}): Promise<Attempt> {
  const { sink, told } = spySink();
  const from = source instanceof Uint8Array ? bytesSource(source, "model.onnx") : source;
  const error = await quantizeModel(engine, from, sink, { allowUnchanged: true, ...options }).then(
    () => undefined,
    (cause: unknown) => cause ?? "nothing was thrown, and it failed",
  );
  return { error, told };
}

async function expectRefused(source: Uint8Array | ByteSource, says: RegExp, options?: QuantizeModelOptions) {
  expectRefusal(await attempt(source, options), says);
}

describe("data in other files", () => {
  // As long as codes have to be to go to a file of their own.
  const long = normals(randomOf(8), 64 * 24);
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "wasm-quant-bad-"));
    await mkdir(join(folder, "model", "below", "folder"), { recursive: true });
    const all = new Uint8Array(bytesOf(long));
    await writeFile(join(folder, "outside.bin"), all);
    await writeFile(join(folder, "model", "w.bin"), all);
    await writeFile(join(folder, "model", "short.bin"), all.slice(0, 1000));
    await writeFile(join(folder, "model", "empty.bin"), "");
    await writeFile(join(folder, "model", "below", "w.bin"), all);
    await symlink(join(folder, "outside.bin"), join(folder, "model", "link.bin"));
    await symlink("../outside.bin", join(folder, "model", "relative.bin"));
    await symlink(folder, join(folder, "model", "up"));
    await symlink("w.bin", join(folder, "model", "inner.bin"));
    await symlink("nowhere.bin", join(folder, "model", "dangling.bin"));
    await symlink("round.bin", join(folder, "model", "round.bin"));
    execFileSync("mkfifo", [join(folder, "model", "pipe.bin")]);
  });
  afterAll(() => rm(folder, { recursive: true }));

  const whole = String(long.byteLength);
  const external = (entries: Readonly<Record<string, string>>, name = "W") =>
    tensor(name, "float32", [64, 24], [], { store: { kind: "external", entries } });

  async function tryFile(bytes: Uint8Array, options: QuantizeModelOptions = {}) {
    const path = join(folder, "model", "model.onnx");
    await writeFile(path, bytes);
    const output = join(folder, "out.onnx");
    const before = await readdir(folder);
    const source = await fileSource(path);
    try {
      const sink = await fileSink(output);
      const error = await quantizeModel(engine, source, sink, options).then(
        () => undefined,
        (cause: unknown) => cause as Error,
      );
      const added = (await readdir(folder)).filter((name) => !before.includes(name));
      await rm(output, { force: true });
      await rm(`${output}.data`, { force: true });
      return { error, added };
    } finally {
      await source.close();
    }
  }

  it.each<[string, Record<string, string>, RegExp]>([
    ["an absolute path", { location: "/etc/passwd" }, /leads out of the model's folder/],
    ["a path with .. at the start", { location: "../outside.bin" }, /leads out of the model's folder/],
    ["a path with .. within", { location: "below/../../outside.bin" }, /leads out of the model's folder/],
    ["a path with .. that stays within", { location: "below/../w.bin" }, /leads out of the model's folder/],
    ["a path with \\..\\", { location: "below\\..\\..\\outside.bin" }, /leads out of the model's folder/],
    ["a path on drive C", { location: "C:\\outside.bin" }, /leads out of the model's folder/],
    ["a path on another machine", { location: "\\\\server\\share\\w.bin" }, /leads out of the model's folder/],
    ["a path with a zero byte", { location: "w.bin\0.txt" }, /leads out of the model's folder/],
    ["a link to the outside", { location: "link.bin" }, /link out of the model's folder/],
    ["a relative link to the outside", { location: "relative.bin" }, /link out of the model's folder/],
    ["a folder that is a link to the outside", { location: "up/outside.bin" }, /link out of the model's folder/],
    ["a link to nowhere", { location: "dangling.bin" }, /no such file/],
    ["a link to itself", { location: "round.bin" }, /cannot be/],
    ["a file that is missing", { location: "missing.bin" }, /no such file/],
    ["a file in a folder that is missing", { location: "missing/w.bin" }, /no such file/],
    ["a file as a folder", { location: "w.bin/w.bin" }, /no such file/],
    ["a folder", { location: "below" }, /folder/],
    ["a pipe", { location: "pipe.bin" }, /not a file/],
    ["no location", { offset: "0" }, /not named/],
    ["an empty location", { location: "" }, /not named/],
    ["a location of 5000 letters", { location: "x".repeat(5000) }, /too long/],
    ["a file too short", { location: "short.bin" }, /claims \[64, 24\].* 1000 are there/],
    ["an empty file", { location: "empty.bin" }, /claims .* 0 are there/],
    ["an offset too far", { location: "w.bin", offset: "8" }, /claims .* from byte 8/],
    ["an offset beyond the end", { location: "w.bin", offset: "999999" }, /claims .* 0 are there from byte 999999/],
    ["a negative offset", { location: "w.bin", offset: "-8" }, /offset "-8"/],
    ["an offset that is no number", { location: "w.bin", offset: "zero" }, /offset "zero"/],
    ["an offset in hexadecimal", { location: "w.bin", offset: "0x0" }, /offset "0x0"/],
    ["an offset of 30 digits", { location: "w.bin", offset: "9".repeat(30) }, /offset "9+"/],
    ["a length too short", { location: "w.bin", length: "100" }, /claims .*100/],
    ["a length too long", { location: "w.bin", length: "4000000000" }, /claims /],
    ["a negative length", { location: "w.bin", length: "-6144" }, /length "-6144"/],
    ["the model itself, too short", { location: "model.onnx" }, /claims /],
  ])("%s", async (_, entries, says) => {
    const { error, added } = await tryFile(modelOf({ initializers: [external(entries)] }));
    expect(isWasmQuantError(error, "format"), error?.stack).toBe(true);
    expect(error!.message).toMatch(/model\.onnx: tensor "W": /);
    expect(error!.message).toMatch(says);
    expect(error!.message).not.toMatch(/[\n\r]/);
    expect(added).toEqual([]);
  });

  it.each([
    ["a link within the folder", { location: "inner.bin" }],
    ["a folder below", { location: "below/w.bin", offset: "0", length: whole }],
    ["an empty offset and an empty length", { location: "w.bin", offset: "", length: "" }],
    ["a checksum, which no one holds it against", { location: "w.bin", checksum: "0".repeat(40) }],
    ["a key yet to come", { location: "w.bin", future: "?" }],
  ])("%s is fine", async (_, entries) => {
    const { error, added } = await tryFile(modelOf({ initializers: [external(entries)] }));
    expect(error).toBeUndefined();
    expect(added.sort()).toEqual(["out.onnx", "out.onnx.data"]);
  });

  it("in a Constant node, in a graph within", async () => {
    const inner = graph({
      name: "inner",
      nodes: [
        node("Constant", "", "k", { value: { tensor: external({ location: "../w.bin" }, "") } }),
        node("MatMul", "x k", "i"),
      ],
      outputs: [value("i", "float32")],
    });
    const nodes = [matMul, node("If", "x", "z", { then_branch: { graph: inner }, else_branch: { graph: inner } })];
    const { error, added } = await tryFile(modelOf({ nodes }));
    expect(isWasmQuantError(error, "format"), error?.stack).toBe(true);
    expect(error!.message).toMatch(/leads out of the model's folder/);
    expect(added).toEqual([]);
  });

  it("a model that would be refused for another reason leaves no file beside it either", async () => {
    const holed = long.slice();
    holed[5] = Number.NEGATIVE_INFINITY;
    await writeFile(join(folder, "model", "holed.bin"), bytesOf(holed));
    const { error, added } = await tryFile(modelOf({ initializers: [external({ location: "holed.bin" })] }));
    expect(error!.message).toMatch(/model\.onnx: tensor "W": holds -Infinity at flat index 5/);
    expect(added).toEqual([]);
  });

  it("a data file that is there already is not overwritten", async () => {
    await writeFile(join(folder, "out.onnx.data"), "mine");
    const path = join(folder, "model", "model.onnx");
    await writeFile(path, modelOf({ initializers: [external({ location: "w.bin" })] }));
    const source = await fileSource(path);
    const sink = await fileSink(join(folder, "out.onnx"));
    await expect(quantizeModel(engine, source, sink)).rejects.toThrow(/out\.onnx\.data: exists already/);
    await source.close();
    expect(await readFile(join(folder, "out.onnx.data"), "utf8")).toBe("mine");
    expect((await readdir(folder)).sort()).toEqual(["model", "out.onnx.data", "outside.bin"]);
    await rm(join(folder, "out.onnx.data"));
  });

  it("a source that has no other files, or not this one", async () => {
    const bytes = modelOf({ initializers: [external({ location: "w.bin" })] });
    const { sibling: _, ...alone } = bytesSource(bytes, "model.onnx");
    await expectRefused(alone, /tensor "W": .*"w\.bin".*only the model was given/);
    const others = bytesSource(bytes, "model.onnx", { "other.bin": bytesOf(long) });
    await expectRefused(others, /tensor "W": its data cannot be had: w\.bin: is not among the files given$/);
    expect((await attempt(bytesSource(bytes, "model.onnx", { "w.bin": bytesOf(long) }))).error).toBeUndefined();
  });

  it("a sink that has no place for them", async () => {
    const source: ByteSource = {
      ...bytesSource(modelOf({ initializers: [external({ location: "w.bin" })] }), "model.onnx"),
      sibling: async () => bytesSource(new Uint8Array(bytesOf(long)), "w.bin"),
    };
    const { sink, told } = spySink();
    const { companion: _, ...without } = sink;
    const error = await quantizeModel(engine, source, without).catch((cause: unknown) => cause);
    expectRefusal({ error, told }, /^sink: /, "argument");
  });

  it("gigabytes claimed of a small file", async () => {
    const claim = tensor("W", "float32", [2 ** 15, 2 ** 15], [], {
      store: { kind: "external", entries: { location: "w.bin", length: String(2 ** 32) } },
    });
    const before = process.memoryUsage().rss;
    const { error } = await tryFile(modelOf({ initializers: [claim] }));
    expect(error!.message).toMatch(/tensor "W": claims \[32768, 32768\]/);
    expect(process.memoryUsage().rss - before).toBeLessThan(1 << 26);
  });
});
