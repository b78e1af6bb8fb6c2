import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import * as engines from "../../src/engine/engine.ts";
import { bytesSink, bytesSource, quantizeModel } from "../../src/index.ts";
import { inspectFile, quantizeFile } from "../../src/node.ts";
import { freshFolder } from "../helpers/folder.ts";

const digits = join(import.meta.dirname, "../../example/digits.onnx");

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
    const input = join(import.meta.dirname, "../../example/digits.safetensors");
    const outputs = [1, 2].map((threads) => folder.at(`digits-${threads}.safetensors`));
    await quantizeFile(input, outputs[0]!, { threads: 1 });
    await quantizeFile(input, outputs[1]!);
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
    ["no thread", digits, "out.onnx", { threads: 0 }, { tag: "argument", argument: "threads" }],
  ] as const)("leaves nothing behind after %s", async (_, input, output, options, error) => {
    await expect(quantizeFile(input, folder.at(output), options as object)).rejects.toMatchObject(error);
    expect(await folder.names()).toEqual([]);
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
    const tensors = await inspectFile(join(import.meta.dirname, "../../example/digits.safetensors"));
    expect(tensors.fileType).toBe("safetensors");
  });

  it("names a file that is not there", async () => {
    await expect(inspectFile("missing.onnx")).rejects.toMatchObject({ tag: "file", file: "missing.onnx" });
  });
});
