import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import * as engines from "../../src/engine/engine.ts";
import { bytesSink, bytesSource, quantizeModel } from "../../src/index.ts";
import { inspectFile, quantizeFile } from "../../src/node.ts";
import { freshFolder } from "../helpers/folder.ts";

const digits = join(import.meta.dirname, "../../example/digits.onnx");

const tensors = join(import.meta.dirname, "../../example/digits.safetensors");

const folder = freshFolder();

afterEach(() => vi.restoreAllMocks());

describe("quantizeFile", () => {
  it("writes what quantizeModel does, and reports it", async () => {
    const output = folder.at("digits.int8.onnx");
    const report = await quantizeFile(digits, output, { dtype: "int8" });
    const engine = await engines.createEngine();
    const sink = bytesSink();
    await quantizeModel(engine, bytesSource(await readFile(digits), "digits.onnx"), sink, { dtype: "int8" });
    expect(Buffer.compare(await readFile(output), sink.result())).toBe(0);
    expect(report.bytesAfter).toBe(sink.result().length);
    expect(report.tensors.some(({ to }) => to === "int8")).toBe(true);
  });

  it("takes files of tensors, and one thread as well as two", async () => {
    const outputs = [1, 2].map((threads) => folder.at(`digits-${threads}.safetensors`));
    await quantizeFile(tensors, outputs[0]!, { threads: 1 });
    await quantizeFile(tensors, outputs[1]!);
    const [one, other] = await Promise.all(outputs.map((path) => readFile(path)));
    expect(Buffer.compare(one!, other!)).toBe(0);
  });

  it("replaces nothing unless asked to", async () => {
    const output = folder.at("out.onnx");
    await writeFile(output, "mine");
    await expect(quantizeFile(digits, output)).rejects.toMatchObject({ tag: "file" });
    expect(await readFile(output, "utf8")).toBe("mine");
    await quantizeFile(digits, output, { overwrite: true });
    expect((await readFile(output)).length).toBeGreaterThan(10_000);
  });

  it.each([
    ["a missing input", "missing.onnx", "out.onnx", {}, { tag: "file" }],
    ["another extension", digits, "out.safetensors", {}, { tag: "argument", argument: "output" }],
    ["options that do not go together", digits, "out.onnx", { format: "qdq", dtype: "float16" }, { tag: "argument" }],
    ["an option that is not there", digits, "out.onnx", { perchannel: true }, { tag: "argument" }],
    ["too little memory", digits, "out.onnx", { memory: 1 }, { tag: "argument", argument: "memory" }],
    ["memory as the command has it", digits, "out.onnx", { memory: "256MB" }, { message: /256MB/ }],
    ["workers", digits, "out.onnx", { workers: 1 }, { tag: "argument", argument: "workers" }],
    ["the name of an index", digits, "out.onnx.index.json", {}, { tag: "argument", argument: "output" }],
    ["an index for one file", tensors, "out.safetensors.index.json", {}, { tag: "argument", argument: "output" }],
    ["no thread", digits, "out.onnx", { threads: 0 }, { tag: "argument", argument: "threads" }],
  ] as const)("leaves nothing behind after %s", async (_, input, output, options, error) => {
    const expected = "message" in error ? { tag: "argument", message: expect.stringMatching(error.message) } : error;
    await expect(quantizeFile(input, folder.at(output), options as object)).rejects.toMatchObject(expected);
    expect(await folder.names()).toEqual([]);
  });

  it("takes no output that is not a path", async () => {
    await expect(quantizeFile(digits, 1 as unknown as string)).rejects.toMatchObject({ argument: "output" });
  });

  it("writes shards for shards", async () => {
    const shard = await readFile(tensors);
    const weight_map = { "fc1.weight": "a.safetensors" };
    await writeFile(folder.at("a.safetensors"), shard);
    await writeFile(folder.at("model.safetensors.index.json"), JSON.stringify({ metadata: {}, weight_map }));
    const input = folder.at("model.safetensors.index.json");
    await expect(quantizeFile(input, folder.at("out.safetensors"))).rejects.toMatchObject({ argument: "output" });
    await quantizeFile(input, folder.at("out.safetensors.index.json"));
    expect(await folder.names()).toContain("out-00001-of-00001.safetensors");
  });

  it("uses the engine it is given", async () => {
    const engine = await engines.createEngine();
    const used = vi.spyOn(engine, "quantizeWithError");
    await quantizeFile(digits, folder.at("out.onnx"), { engine, threads: 1 });
    expect(used).toHaveBeenCalled();
  });
});

describe("inspectFile", () => {
  it("tells models from files of tensors", async () => {
    expect(await inspectFile(digits)).toMatchObject({ fileType: "onnx" });
    expect((await inspectFile(tensors)).fileType).toBe("safetensors");
  });

  it("names a file that is not there", async () => {
    await expect(inspectFile("missing.onnx")).rejects.toMatchObject({ tag: "file", file: "missing.onnx" });
  });
});
