import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runnerIn } from "../helpers/command.ts";
import { mlp } from "../helpers/command-models.ts";
import { node } from "../helpers/onnx-build.ts";
import { floats, sketch } from "../helpers/sketch.ts";

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "wasm-quant-"));
});

afterEach(() => rm(folder, { recursive: true, force: true }));

const at = (...names: string[]) => join(folder, ...names);

const put = (name: string, bytes: Uint8Array | string) => writeFile(at(name), bytes);

const bytesIn = async (name: string) => new Uint8Array(await readFile(at(name)));

const listed = async () => (await readdir(folder)).sort();

const run = runnerIn(() => folder);

describe("inspect", () => {
  it("prints a model's facts and what its weights would lose", async () => {
    await put("model.onnx", mlp().bytes);
    const { code, stdout, stderr } = await run("inspect", "model.onnx");
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const [title, input, output, nodes, empty, head, first, second, ...rest] = stdout.split("\n");
    expect(title).toMatch(/^model\.onnx: ONNX, 19\.\d kB, IR version 8, opset 17$/);
    expect([input, output]).toEqual(["input   x float32 [n, 64]", "output  y float32 [n, 10]"]);
    expect(nodes).toBe("nodes   2 MatMul, 1 Add, 1 Relu");
    expect(head).toMatch(
      /^op +weight +shape +dtype +bytes +min +max +int8 tensor +int8 channel +int4 tensor +int4 channel$/,
    );
    expect(first).toMatch(/^MatMul +fc1\.weight +64 x 64 +float32 +16\.4 kB +-\d\S* +\d\S*( +\d+\.\d dB){4}$/);
    expect(second).toMatch(/^MatMul +fc2\.weight +64 x 10 /);
    expect([empty, ...rest]).toEqual(["", ""]);
    expect(await run("inspect", "model.onnx", "--quiet")).toEqual({ code: 0, stdout: "", stderr: "" });
    expect(await listed()).toEqual(["model.onnx"]);
  });

  it("--json", async () => {
    await put("model.onnx", mlp().bytes);
    const { weights, ...facts } = JSON.parse((await run("inspect", "model.onnx", "--json")).stdout);
    expect(facts).toEqual({
      input: "model.onnx",
      fileType: "onnx",
      bytes: (await bytesIn("model.onnx")).length,
      irVersion: 8,
      opsets: { "": 17 },
      inputs: [{ name: "x", dtype: "float32", shape: ["n", 64] }],
      outputs: [{ name: "y", dtype: "float32", shape: ["n", 10] }],
      nodes: { MatMul: 2, Add: 1, Relu: 1 },
      dataFiles: [],
      quantized: [],
      runtimeNeeds: [],
    });
    expect(weights).toHaveLength(2);
    expect(weights[0]).toMatchObject({ name: "fc1.weight", ops: ["MatMul"], nodes: ["fc1"], shape: [64, 64] });
    const { int8PerTensor, int8PerChannel, int4PerTensor, int4PerChannel } = weights[0].sqnr;
    expect(int8PerChannel).toBeGreaterThan(int8PerTensor);
    expect(int8PerTensor).toBeGreaterThan(int4PerChannel + 20);
    expect(int4PerChannel).toBeGreaterThan(int4PerTensor);
    // The prospect is what quantizing gives.
    const { tensors } = JSON.parse((await run("model.onnx", "--json")).stdout);
    expect(tensors[0].sqnr).toBeCloseTo(int8PerChannel, 9);
  });

  it("a quantized model's weights are told of as such", async () => {
    await put("model.onnx", mlp().bytes);
    await run("model.onnx", "--quiet");
    const { stdout } = await run("inspect", "model.int8.onnx");
    expect(stdout).toMatch(/^nodes {3}2 Cast, 2 Mul, 2 MatMul, 1 Add, 1 Relu$/m);
    expect(stdout).toMatch(
      /^quantized already +shape +dtype +bytes +scales\nfc1\.weight +64 x 64 +int8 +4\.35 kB +64\n/m,
    );
    const { weights, quantized } = JSON.parse((await run("inspect", "model.int8.onnx", "--json")).stdout);
    expect(weights).toEqual([]);
    expect(quantized[1]).toEqual({ name: "fc2.weight", shape: [64, 10], dtype: "int8", bytes: 680, scales: 10 });
  });

  it("says of what stays float why, and of what is computed from constants that it is computed once", async () => {
    const nodes = [
      node("LayerNormalization", "x g", "h"),
      ...[node("Div", "v n", "w"), node("MatMul", "h w", "y"), node("Div", "zeros n", "u"), node("MatMul", "y u", "z")],
    ];
    const zeros = { shape: [32, 8], data: new Array(256).fill(0) };
    const weights = { g: [1024], v: [1024, 32], n: { shape: [1], data: [0] }, zeros };
    await put("zero.onnx", sketch({ nodes, weights, feeds: { x: floats([1, 1024]) }, outputs: ["z"] }));
    const whole = { ...weights, n: { shape: [1], data: [2] }, zeros: [32, 8] };
    await put("two.onnx", sketch({ nodes, weights: whole, feeds: { x: floats([1, 1024]) }, outputs: ["z"] }));
    const norm = /^LayerNormalization +g .* not quantized: used by LayerNormalization as its scale, not as a weight$/m;
    const zero = await run("inspect", "zero.onnx");
    expect(zero.stdout).toMatch(norm);
    expect(zero.stdout).toMatch(
      /\n\n2 weights are computed from constants in each run and stay float: it would hold NaN.*: w, u\n/,
    );
    const { stdout } = await run("inspect", "two.onnx");
    expect(stdout).toMatch(norm);
    expect(stdout).toMatch(/^MatMul +w .* dB +computed once, from constants$/m);
    expect(stdout).toMatch(/\n\n2 weights computed once, from constants: w, u\n$/);
    expect((await run("inspect", "two.onnx", "--exclude", "w")).stdout).toMatch(
      /^MatMul +w .* not quantized: excluded$/m,
    );
    const { weights: listed, remarks } = JSON.parse((await run("inspect", "two.onnx", "--json")).stdout);
    expect(listed[1]).toMatchObject({ name: "w", isComputed: true });
    expect(remarks).toEqual([{ code: "folded", message: "2 weights computed once, from constants: w, u" }]);
  });

  it("names from files cannot write to the terminal", async () => {
    await put("evil.onnx", mlp({ input: "\u001b[31mred" }).bytes);
    const { code, stdout } = await run("inspect", "evil.onnx");
    expect(code).toBe(0);
    expect(stdout).toContain("input   \\u{1b}[31mred float32 [n, 64]\n");
    expect(stdout).not.toContain("\u001b");
  });
});
