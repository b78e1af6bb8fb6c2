import { spawn } from "node:child_process";
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Uint8ArrayReader, Uint8ArrayWriter, ZipWriter } from "@zip.js/zip.js";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { encodeNpyHeader } from "../../src/formats/npy.ts";
import { createEngine, type QuantizeModelOptions, quantizeModel } from "../../src/index.ts";
import { fileSink, fileSource } from "../../src/node.ts";
import { f32, safetensorsFile } from "../helpers/checkpoints.ts";
import { main, processIn, runnerIn } from "../helpers/command.ts";
import { elementBytes, graph, graphIn, model, node, readGraph, tensor, value } from "../helpers/onnx-build.ts";
import { normals, randomOf } from "../helpers/random.ts";
import { openNode, openWeb, type Session, withSession } from "../helpers/sessions.ts";
import { bytesOf } from "../helpers/sources.ts";

// The built command on ONNX models, as users run it. What it does to files of tensors is in cli.test.ts; `npm test` builds
// before.
const digits = join(import.meta.dirname, "../../example/digits.onnx");

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

const oneLine = /^wasm-quant: [^\n]*\n$/;

/** Fails in one line that has all of `words`, and leaves the folder as it was. */
async function expectFailure(
  exitCode: number,
  args: readonly string[],
  words: readonly (string | RegExp)[],
): Promise<void> {
  const before = await listed();
  const { code, stdout, stderr } = await run(...args);
  expect({ code, stdout, stderr }).toEqual({ code: exitCode, stdout: "", stderr: expect.stringMatching(oneLine) });
  for (const word of words) expect(stderr).toMatch(word);
  expect(await listed()).toEqual(before);
}

/** Of this file, or of patterns that match nothing in it. */
const expectRefusal = (args: readonly string[], ...words: readonly (string | RegExp)[]) =>
  expectFailure(1, args, words);

/** Of options that no file would go with: scripts tell them from a file that will not do. */
const expectMisuse = (args: readonly string[], ...words: readonly (string | RegExp)[]) => expectFailure(2, args, words);

interface MlpOptions {
  readonly opset?: number;
  /** The file that its weights are in, not the model's. */
  readonly location?: string;
  readonly width?: number;
  readonly input?: string;
}

const CLASSES = 10;

/** Two layers and a bias: x [n, width] to y [n, 10]. */
function mlp({ opset = 17, location, width = 64, input = "x" }: MlpOptions = {}) {
  const weights = [normals(randomOf(1), width * width), normals(randomOf(2), width * CLASSES)];
  const [first, second] = weights.map((each) => elementBytes("float32", each));
  const stored = (offset: number, { length }: Uint8Array) => {
    const entries = { location: location ?? "", offset: String(offset), length: String(length) };
    return location === undefined ? {} : { store: { kind: "external", entries } as const };
  };
  const bytes = model({
    opsets: { "": opset },
    graph: graph({
      nodes: [
        node("MatMul", `${input} fc1.weight`, "h", {}, { name: "fc1" }),
        node("Add", "h fc1.bias", "sum"),
        node("Relu", "sum", "r"),
        node("MatMul", "r fc2.weight", "y", {}, { name: "fc2" }),
      ],
      initializers: [
        tensor("fc1.weight", "float32", [width, width], weights[0]!, stored(0, first!)),
        tensor("fc1.bias", "float32", [width], normals(randomOf(3), width)),
        tensor("fc2.weight", "float32", [width, CLASSES], weights[1]!, stored(first!.length, second!)),
      ],
      inputs: [value(input, `float32[n,${width}]`)],
      outputs: [value("y", `float32[n,${CLASSES}]`)],
    }),
  });
  return { bytes, data: new Uint8Array(Buffer.concat([first!, second!])) };
}

const feeds = { x: { dims: [8, 64], data: normals(randomOf(4), 8 * 64) } };

async function outputOf(session: Promise<Session>): Promise<Float32Array> {
  return withSession(session, async (opened) => (await opened.run(feeds)).y!.data as Float32Array);
}

/** How far `approximate` is from `exact`, in dB. */
function decibels(exact: Float32Array, approximate: Float32Array): number {
  expect(approximate.length).toBe(exact.length);
  const power = (values: Float32Array) => values.reduce((sum, x) => sum + x * x, 0);
  return 10 * Math.log10(power(exact) / power(exact.map((x, i) => x - approximate[i]!)));
}

/** The same of what two models give. */
async function apart(exact: string, approximate: string): Promise<number> {
  return decibels(await outputOf(openNode(at(exact))), await outputOf(openNode(at(approximate))));
}

const opsetIn = async (name: string) => JSON.parse((await run("inspect", name, "--json")).stdout).opsets[""];

describe("quantize", () => {
  beforeEach(() => put("model.onnx", mlp().bytes));

  it("writes beside the input and prints a table, totals and remarks; nothing on stderr", async () => {
    // The time that it prints is counted from the start of the process.
    const { code, stdout, stderr } = await processIn(() => folder)("model.onnx");
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const [title, first, second, empty, totals, ...remarks] = stdout.split("\n");
    expect(title).toMatch(/^op +weight +shape +dtype +error +before +after$/);
    expect(first).toMatch(/^MatMul +fc1\.weight +64 x 64 +float32 -> int8 +\d\d\.\d dB +16\.4 kB +\d\.\d\d kB$/);
    expect(second).toMatch(/^MatMul +fc2\.weight +64 x 10 +float32 -> int8 +\d\d\.\d dB +2\.56 kB +\d+ B$/);
    expect(empty).toBe("");
    expect(totals).toMatch(/^model\.int8\.onnx: 2 of 2 tensors quantized, .* \(0\.3\d\d of the input\), \d\.\d\d s$/);
    expect(remarks).toEqual(["1 other float tensor (biases and the like, 256 bytes): as before", ""]);
    expect(await listed()).toEqual(["model.int8.onnx", "model.onnx"]);
    expect(await apart("model.onnx", "model.int8.onnx")).toBeGreaterThan(35);
  });

  it.each([
    [["model.onnx", "--dtype", "uint16"], "model.uint16.onnx"],
    [["quantize", "model.onnx", "--per-tensor"], "model.int8.onnx"],
    [["MODEL.ONNX"], "MODEL.int8.onnx"],
    [["no-extension"], "no-extension.int8.onnx"],
    [["v1.safetensors.onnx"], "v1.safetensors.int8.onnx"],
    [["sub/model.onnx"], "sub/model.int8.onnx"],
    [["model.onnx", "-o", "other.ONNX"], "other.ONNX"],
    [["model.onnx", "-o", "sub/other.onnx"], "sub/other.onnx"],
  ])("%j writes %s", async (args, output) => {
    await mkdir(at("sub"));
    const input = args.find((each) => each !== "quantize")!;
    if (input !== "model.onnx") await copyFile(at("model.onnx"), at(input));
    const { code, stdout, stderr } = await run(...args, "--json");
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(JSON.parse(stdout)).toMatchObject({ input, output });
    expect((await bytesIn(output)).length).toBeLessThan(0.6 * (await bytesIn("model.onnx")).length);
  });

  it("-o with another extension is refused", async () => {
    await expectMisuse(["model.onnx", "-o", "small.safetensors"], "small.safetensors", /\.onnx file/);
    const { code, stdout, stderr } = await run("model.onnx", "-o", "small.pb");
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toMatch(/^wasm-quant: .*small\.pb.*\.onnx.*\nusage: wasm-quant quantize \[options\] <input>\n$/);
    expect(await listed()).toEqual(["model.onnx"]);
    await put("tensors.safetensors", await safetensorsFile([f32("w", [8, 64])]));
    await expectMisuse(["tensors.safetensors", "-o", "small.onnx"], "small.onnx", /\.safetensors file/);
  });

  it("keeps an existing output unless --force is given", async () => {
    await put("model.int8.onnx", "precious");
    await expectRefusal(["model.onnx"], "model.int8.onnx: exists already; --force replaces it, -o names another");
    expect(await readFile(at("model.int8.onnx"), "utf8")).toBe("precious");
    expect((await run("model.onnx", "--force")).code).toBe(0);
    expect((await bytesIn("model.int8.onnx")).length).toBeGreaterThan(5000);
  });

  it("may replace its own input, if it is told to", async () => {
    const before = await bytesIn("model.onnx");
    // Not "exists already": who named the input by mistake would then force it.
    for (const same of ["model.onnx", "./model.onnx", at("model.onnx")]) {
      await expectRefusal(
        ["model.onnx", "-o", same],
        `wasm-quant: ${same}: is the input itself; -o names another file, --force puts the result in its place\n`,
      );
    }
    expect(await bytesIn("model.onnx")).toEqual(before);
    expect((await run("model.onnx", "-o", "model.onnx", "--force")).code).toBe(0);
    expect(await listed()).toEqual(["model.onnx"]);
    expect(JSON.parse((await run("inspect", "model.onnx", "--json")).stdout).quantized).toHaveLength(2);
  });

  it("--json prints the same for programs, --quiet nothing", async () => {
    const { stdout, stderr } = await run("model.onnx", "--json");
    expect(stderr).toBe("");
    const { seconds, ...report } = JSON.parse(stdout);
    expect(seconds).toBeGreaterThan(0);
    const weight = {
      from: "float32",
      to: "int8",
      ops: ["MatMul"],
      sqnr: expect.any(Number),
      maxAbs: expect.any(Number),
    };
    expect(report).toEqual({
      input: "model.onnx",
      output: "model.int8.onnx",
      tensors: [
        { ...weight, name: "fc1.weight", shape: [64, 64], bytesBefore: 16384, bytesAfter: 64 * 64 + 64 * 4 },
        { ...weight, name: "fc2.weight", shape: [64, 10], bytesBefore: 2560, bytesAfter: 64 * 10 + 10 * 4 },
      ],
      remarks: [{ code: "other-tensors", message: "1 other float tensor (biases and the like, 256 bytes): as before" }],
      bytesBefore: (await bytesIn("model.onnx")).length,
      bytesAfter: (await bytesIn("model.int8.onnx")).length,
    });
    const { stdout: excluded } = await run("model.onnx", "--json", "--exclude", "fc2", "-o", "x.onnx");
    expect(JSON.parse(excluded).tensors[1]).toMatchObject({ from: "float32", to: "float32", reason: "excluded" });
    expect(await run("model.onnx", "--quiet", "--force")).toEqual({ code: 0, stdout: "", stderr: "" });
  });

  it("--include and --exclude take names of weights and of nodes", async () => {
    const changed = async (...args: string[]) => {
      const { stdout } = await run("model.onnx", "--json", "--force", ...args);
      const { tensors } = JSON.parse(stdout) as { tensors: { name: string; reason?: string }[] };
      return tensors.filter(({ reason }) => reason === undefined).map(({ name }) => name);
    };
    expect(await changed("--include", "*.weight", "--exclude", "fc1")).toEqual(["fc2.weight"]);
    expect(await changed("--include", "fc1")).toEqual(["fc1.weight"]);
    expect(await changed("--op-types", "MatMul", "--include", "fc2*")).toEqual(["fc2.weight"]);
  });

  it("nothing to do is an error that writes nothing; --allow-unchanged copies the file, and the report says so", async () => {
    await expectRefusal(["model.onnx", "--exclude", "*"], "model.onnx: 0 of 2 weights quantized: excluded");
    expect(await listed()).toEqual(["model.onnx"]);
    const { code, stdout } = await run("model.onnx", "--exclude", "*", "--allow-unchanged");
    expect(code).toBe(0);
    expect(stdout).toMatch(/copied: excluded\n.*0 of 2 tensors quantized/s);
    expect(stdout).toMatch(/\nnothing to do: the model is written as it was read\n$/);
    expect(await bytesIn("model.int8.onnx")).toEqual(await bytesIn("model.onnx"));
  });
});

describe("--format and --opset", () => {
  const opsIn = (bytes: Uint8Array) => readGraph(graphIn(bytes)).nodes.map(({ op }) => op);

  it("cast is what is done if nothing is said, on opset 9 too", async () => {
    await put("model.onnx", mlp({ opset: 9 }).bytes);
    expect((await run("model.onnx", "--quiet")).code).toBe(0);
    const added = opsIn(await bytesIn("model.int8.onnx")).filter((op) => op === "Cast" || op === "Mul");
    expect(added.sort()).toEqual(["Cast", "Cast", "Mul", "Mul"]);
    expect((await run("model.onnx", "--quiet", "--format", "cast", "-o", "cast.onnx")).code).toBe(0);
    expect(await bytesIn("cast.onnx")).toEqual(await bytesIn("model.int8.onnx"));
    expect(await apart("model.onnx", "cast.onnx")).toBeGreaterThan(35);
  });

  it("qdq on opset 9 raises it to the one it takes, unless a lower one is asked for", async () => {
    await put("model.onnx", mlp({ opset: 9 }).bytes);
    const lower = ["model.onnx", "--format", "qdq", "--opset", "12"];
    await expectMisuse(lower, "--opset: 12 given; DequantizeLinear per channel", "at least 13, or take --format cast");
    const tensor = await run("model.onnx", "--format", "qdq", "--per-tensor", "-o", "tensor.onnx");
    expect(tensor.stdout).toContain('\nopset 9 raised to 10, which DequantizeLinear (format "qdq") needs\n');
    expect(await opsetIn("tensor.onnx")).toBe(10);
    const { code, stdout, stderr } = await run("model.onnx", "--format", "qdq");
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toContain('\nopset 9 raised to 13, which DequantizeLinear per channel (format "qdq") needs\n');
    expect(opsIn(await bytesIn("model.int8.onnx")).filter((op) => op === "DequantizeLinear")).toHaveLength(2);
    expect(await opsetIn("model.int8.onnx")).toBe(13);
    expect(await apart("model.onnx", "model.int8.onnx")).toBeGreaterThan(35);
  });

  it.each(["int4", "uint4"])(
    "%s with --format cast is refused with advice, and done with --format qdq",
    async (dtype) => {
      await put("model.onnx", mlp().bytes);
      const words = [`--dtype: ${dtype} needs`, "--format nbits", /"?qdq"?/];
      await expectMisuse(["model.onnx", "--dtype", dtype, "--format", "cast"], ...words);
      const done = await run("model.onnx", "--dtype", dtype, "--format", "qdq", "--block-size", "32");
      expect(done).toMatchObject({ code: 0, stderr: "" });
      expect(done.stdout).toContain("\nopset 17 raised to 21, which DequantizeLinear in blocks");
      expect(await listed()).toEqual(["model.onnx", `model.${dtype}.onnx`].sort());
      expect(await apart("model.onnx", `model.${dtype}.onnx`)).toBeGreaterThan(12);
    },
  );

  // The format "cast" has no 4-bit types either: who takes the advice is sent back.
  it("int4 on an old opset is not told to take a format that has no int4", async () => {
    await put("model.onnx", mlp().bytes);
    const { stderr } = await run("model.onnx", "--dtype", "int4", "--format", "qdq", "--opset", "17");
    expect(stderr).toMatch(/--opset: 17 given; .* needs at least 21\n$/);
  });

  it("an opset below the model's own, and one that there is not", async () => {
    await put("model.onnx", mlp().bytes);
    await expectRefusal(["model.onnx", "--opset", "13"], "model.onnx: is of opset 17", "only raised");
    for (const opset of ["28", "999"]) await expectMisuse(["model.onnx", "--opset", opset], `--opset: ${opset} given`);
    expect((await run("model.onnx", "--opset", "17", "--quiet")).code).toBe(0);
    expect(await opsetIn("model.int8.onnx")).toBe(17);
  });
});

describe("what means nothing", () => {
  beforeEach(() => put("model.onnx", mlp().bytes));

  it.each([
    [
      ["--op-types", "Conv"],
      ["--op-types: ", "no Conv node", "MatMul"],
    ],
    [["--op-types", "MatMul,Convolution"], ["no Convolution node"]],
    [["--op-types", "Relu"], ["--op-types: Relu has no weights"]],
    [
      ["--include", "nothing*"],
      ['--include: "nothing*" matches no weight or node', "fc1.weight"],
    ],
    [["--exclude", "fc1*", "--exclude", "none"], ['--exclude: "none" matches no weight or node']],
    [["--include", "fc1.bias"], ['--include: "fc1.bias" matches no weight']],
  ])("in this model: %j", (args, words) => expectRefusal(["model.onnx", ...args], ...words));

  it.each([
    [["--axis", "0"], ["--axis: is for files of tensors"]],
    [["--axis", "1", "--block-size", "32"], ["--axis: is for files of tensors"]],
    [
      ["--scheme", "float-offset"],
      ["--scheme: float-offset given", "symmetric or asymmetric"],
    ],
  ])("in any model: %j", (args, words) => expectMisuse(["model.onnx", ...args], ...words));

  it.each([
    ["--format", "qdq"],
    ["--format", "cast"],
    ["--opset", "21"],
  ])("in a file of tensors: %s", async (...args) => {
    await put("tensors.safetensors", await safetensorsFile([f32("w", [8, 64])]));
    await expectMisuse(["tensors.safetensors", ...args], `${args[0]}: is for ONNX models`);
  });

  it("in a file of tensors: patterns, be they of names or of types", async () => {
    await put("tensors.safetensors", await safetensorsFile([f32("w", [8, 64])]));
    await expectRefusal(["tensors.safetensors", "--op-types", "MatMul"], "--op-types: is for ONNX models");
    for (const option of ["--include", "--exclude"]) {
      await expectRefusal(["tensors.safetensors", option, "v"], `${option}: "v" matches no tensor`);
    }
  });

  it.each([
    [["--op-types", "MatMul,"], "names with commas between"],
    [["--format", "float"], "Allowed choices are cast, qdq"],
    [["--opset", "0"], "from 1 to"],
    [["--opset", "13.5"], "whole number"],
    [["--include", ""], "must not be empty"],
    [["--scheme", "dynamic"], "Allowed choices are"],
  ])("wrong usage: %j", async (args, message) => {
    const { code, stdout, stderr } = await run("model.onnx", ...args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr.split("\n")).toEqual([
      expect.stringContaining(message),
      "usage: wasm-quant quantize [options] <input>",
      "",
    ]);
    expect(await listed()).toEqual(["model.onnx"]);
  });
});

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

  it("names from files cannot write to the terminal", async () => {
    await put("evil.onnx", mlp({ input: "\u001b[31mred" }).bytes);
    const { code, stdout } = await run("inspect", "evil.onnx");
    expect(code).toBe(0);
    expect(stdout).toContain("input   \\u{1b}[31mred float32 [n, 64]\n");
    expect(stdout).not.toContain("\u001b");
  });
});

describe("compare", () => {
  beforeEach(async () => {
    await put("a.onnx", mlp().bytes);
    await run("a.onnx", "-o", "b.onnx", "--quiet");
  });

  /** As NumPy's savez writes it. */
  async function npz(arrays: Record<string, readonly number[]>): Promise<Uint8Array> {
    const writer = new ZipWriter(new Uint8ArrayWriter(), { useWebWorkers: false });
    for (const [name, shape] of Object.entries(arrays)) {
      const data = normals(
        randomOf(5),
        shape.reduce((product, size) => product * size, 1),
      );
      const member = bytesOf(encodeNpyHeader("<f4", shape), new Uint8Array(data.buffer));
      await writer.add(`${name}.npy`, new Uint8ArrayReader(member));
    }
    return writer.close();
  }

  it("prints weights, outputs on random inputs, and sizes", async () => {
    const { code, stdout, stderr } = await run("compare", "a.onnx", "b.onnx");
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/^weight +shape +dtype +SQNR +largest error\n/);
    expect(stdout).toMatch(/^fc1\.weight +64 x 64 +float32 \| int8 +\d\d\.\d dB +0\.0\d+\n/m);
    expect(stdout).toMatch(
      /\n\noutput +SQNR +cosine +largest error +same top-1\ny +\d\d\.\d dB +0\.999\d+ +\d\S* +\d+\.\d %\n/,
    );
    expect(stdout).toMatch(/\non 4 sets of random inputs\na\.onnx 19\.\d kB, b\.onnx 5\.\d\d kB \(0\.3\d\d\)\n$/);
    expect(await run("compare", "a.onnx", "b.onnx", "--quiet")).toEqual({ code: 0, stdout: "", stderr: "" });
    expect(await listed()).toEqual(["a.onnx", "b.onnx"]);
  });

  it("--json, --sets and --seed", async () => {
    const json = async (...args: string[]) =>
      JSON.parse((await run("compare", "a.onnx", "b.onnx", "--json", ...args)).stdout);
    const first = await json();
    expect(first).toEqual({
      a: "a.onnx",
      b: "b.onnx",
      weights: [
        expect.objectContaining({ name: "fc1.weight", shape: [64, 64], a: "float32", b: "int8" }),
        expect.objectContaining({ name: "fc2.weight", shape: [64, 10], a: "float32", b: "int8" }),
      ],
      otherShapes: [],
      onlyInA: [],
      onlyInB: [],
      outputs: [{ name: "y", comparison: expect.objectContaining({ kind: "float", elements: 40 }) }],
      sets: 4,
      random: true,
      bytesA: (await bytesIn("a.onnx")).length,
      bytesB: (await bytesIn("b.onnx")).length,
    });
    expect(await json("--seed", "0", "--sets", "4")).toEqual(first);
    const other = await json("--seed", "7", "--sets", "2");
    expect(other).toMatchObject({ sets: 2, weights: first.weights });
    expect(other.outputs[0].comparison.sqnr).not.toBe(first.outputs[0].comparison.sqnr);
  });

  it("a model with itself is exact; Infinity is a string in JSON", async () => {
    const { stdout } = await run("compare", "a.onnx", "a.onnx");
    expect(stdout).toMatch(/^fc1\.weight +64 x 64 +float32 +exact +0\n/m);
    expect(stdout).toMatch(/^y +exact +1\.000000 +0 +100\.0 %\n/m);
    const { weights, outputs } = JSON.parse((await run("compare", "a.onnx", "a.onnx", "--json")).stdout);
    expect([weights[0].sqnr, outputs[0].comparison.sqnr]).toEqual(["Infinity", "Infinity"]);
  });

  it("--inputs: a file, a folder of them", async () => {
    await put("x.npz", await npz({ x: [3, 64] }));
    await mkdir(at("sets"));
    await put("sets/2.npz", await npz({ "x::0": [5, 64], "x::1": [1, 64] }));
    await put("sets/1.NPZ", await npz({ x: [2, 64] }));
    await put("sets/notes.txt", "not one of them");
    const json = async (inputs: string) =>
      JSON.parse((await run("compare", "a.onnx", "b.onnx", "--inputs", inputs, "--json")).stdout);
    expect(await json("x.npz")).toMatchObject({ sets: 1, random: false, outputs: [{ comparison: { elements: 30 } }] });
    expect(await json("sets")).toMatchObject({ sets: 3, random: false, outputs: [{ comparison: { elements: 80 } }] });
    expect((await run("compare", "a.onnx", "b.onnx", "--inputs", "sets")).stdout).toContain("\non 3 sets of inputs\n");
  });

  it("--inputs that will not do: one line", async () => {
    await put("shape.npz", await npz({ x: [3, 63] }));
    await put("name.npz", await npz({ z: [3, 64] }));
    await put("text.npz", "no zip");
    await mkdir(at("empty"));
    const refusals = [
      ["shape.npz", 'shape.npz: tensor "x": shape [3, 63]; the input "x" takes [n, 64]'],
      ["name.npz", 'name.npz: tensor "z": not an input of the model, which has "x"'],
      ["text.npz", "text.npz: not a .npz file"],
      ["none.npz", "none.npz: no such file or folder"],
      ["empty", "empty: is a folder without .npz files"],
      ["a.onnx", "a.onnx: not a .npz file"],
    ] as const;
    for (const [inputs, message] of refusals) {
      await expectRefusal(["compare", "a.onnx", "b.onnx", "--inputs", inputs], message);
    }
    for (const more of ["--sets", "--seed"]) {
      const { code, stderr } = await run("compare", "a.onnx", "b.onnx", "--inputs", "x.npz", more, "1");
      expect(code).toBe(2);
      expect(stderr).toMatch(/cannot be used with .*\nusage: wasm-quant compare \[options\] <a> <b>\n$/);
    }
  });

  it("models that do not go together: one line", async () => {
    await put("other.onnx", mlp({ input: "z" }).bytes);
    await put("small.onnx", mlp({ width: 32 }).bytes);
    await put("tensors.safetensors", await safetensorsFile([f32("fc1.weight", [64, 64])]));
    await expectRefusal(["compare", "a.onnx", "other.onnx"], "other.onnx: has inputs z, where a.onnx has x");
    await expectRefusal(["compare", "a.onnx", digits], "digits.onnx: has inputs image, where a.onnx has x");
    await expectRefusal(["compare", "a.onnx", "small.onnx"], "small.onnx: ", "x");
    await expectRefusal(["compare", "a.onnx", "tensors.safetensors"], "tensors.safetensors: is no ONNX model");
    await expectRefusal(["compare", "tensors.safetensors", "a.onnx"], "tensors.safetensors: is no ONNX model");
    await expectRefusal(["compare", "a.onnx", "none.onnx"], "none.onnx: no such file or folder");
    expect((await run("compare", "a.onnx")).stderr).toMatch(
      /missing required argument 'b'\nusage: wasm-quant compare /,
    );
  });

  it("weights that are laid out otherwise are named with both shapes, and are of none alone", async () => {
    const turned = model({
      opsets: { "": 17 },
      graph: graph({
        nodes: [
          node("Gemm", "x fc1.weight", "r"),
          node("Relu", "r", "s"),
          node("Gemm", "s fc2.weight", "y", { transB: 1 }),
        ],
        initializers: [
          tensor("fc1.weight", "float32", [64, 64], normals(randomOf(1), 64 * 64)),
          tensor("fc2.weight", "float32", [CLASSES, 64], normals(randomOf(2), 64 * CLASSES)),
        ],
        inputs: [value("x", "float32[n,64]")],
        outputs: [value("y", `float32[n,${CLASSES}]`)],
      }),
    });
    await put("turned.onnx", turned);
    const { code, stdout } = await run("compare", "a.onnx", "turned.onnx");
    expect(code).toBe(0);
    expect(stdout).toMatch(/^fc1\.weight .* exact +0\nlaid out otherwise: fc2\.weight, 64 x 10 \| 10 x 64\n/m);
    expect(stdout).not.toContain("only in");
  });

  it("weights of one alone are named", async () => {
    const { bytes } = mlp();
    const renamed = Buffer.from(bytes).toString("latin1").replaceAll("fc2.weight", "fc3.weight");
    await put("renamed.onnx", Buffer.from(renamed, "latin1"));
    const { stdout } = await run("compare", "a.onnx", "renamed.onnx");
    expect(stdout).toMatch(/^only in a\.onnx: fc2\.weight\nonly in renamed\.onnx: fc3\.weight\n/m);
  });
});

describe("bad input: exit code 1, one line that names it, nothing written", () => {
  const { bytes } = mlp();
  const cases: Record<string, [content: Uint8Array | string | (() => Promise<Uint8Array>), message: string | RegExp]> =
    {
      "empty.onnx": ["", "is empty"],
      "text.onnx": ["not a model at all, but long enough to be taken for one\n", "is no ONNX model, or a damaged one"],
      "zeros.onnx": [new Uint8Array(5000), "is no ONNX model"],
      "head.onnx": [bytes.subarray(0, 11), "is no ONNX model, or a damaged one"],
      "graph.onnx": [bytes.subarray(0, 100), "is no ONNX model, or a damaged one"],
      "weights.onnx": [bytes.subarray(0, bytes.length / 2), "is no ONNX model, or a damaged one"],
      "end.onnx": [bytes.subarray(0, bytes.length - 1), "is no ONNX model, or a damaged one"],
      "lfs.onnx": ["version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "git lfs pull"],
      "tensors.onnx": [() => safetensorsFile([f32("w", [8, 64])]), "is a safetensors file, not what its name says"],
      "model.safetensors": [bytes, /is an ONNX model, not what its name says/],
      "model.npy": [bytes, /is an ONNX model, not what its name says/],
    };

  it.each(Object.keys(cases))("%s", async (name) => {
    const [content, message] = cases[name]!;
    await put("whole.onnx", bytes);
    await put(name, typeof content === "function" ? await content() : content);
    const before = await listed();
    const commands = [["quantize"], ["inspect"], ["compare", "whole.onnx"], ["dequantize"]];
    const results = await Promise.all(commands.map((command) => run(...command, name)));
    for (const [i, { code, stdout, stderr }] of results.entries()) {
      expect({ code, stdout, stderr }).toEqual({ code: 1, stdout: "", stderr: expect.stringMatching(oneLine) });
      expect(stderr).toContain(`wasm-quant: ${name}: `);
      if (commands[i]![0] !== "dequantize") expect(stderr).toMatch(message);
    }
    expect(await listed()).toEqual(before);
  });

  it("a name that is not there, a folder, a folder that is not there", async () => {
    await put("model.onnx", bytes);
    await mkdir(at("folder.onnx"));
    await expectRefusal(["none.onnx"], "wasm-quant: none.onnx: no such file or folder");
    await expectRefusal(["folder.onnx"], "wasm-quant: folder.onnx: is a folder");
    await expectRefusal(["model.onnx", "-o", "folder.onnx", "--force"], "wasm-quant: folder.onnx: is a folder");
    await expectRefusal(["model.onnx", "-o", "no/such.onnx"], "wasm-quant: no/such.onnx: its folder does not exist");
  });

  it("dequantize is for files of tensors", async () => {
    await put("model.onnx", bytes);
    await expectRefusal(
      ["dequantize", "model.onnx"],
      "model.onnx: is an ONNX model by name or content; a file of tensors is wanted",
    );
  });

  it("a weight that is not finite is named", async () => {
    const damaged = bytes.slice();
    const at = Buffer.from(bytes).indexOf(elementBytes("float32", normals(randomOf(2), 64 * CLASSES)));
    new DataView(damaged.buffer).setFloat32(at + 4 * 77, Number.NaN, true);
    await put("nan.onnx", damaged);
    await expectRefusal(["nan.onnx"], 'nan.onnx: tensor "fc2.weight": holds NaN at flat index 77', "--exclude");
    expect((await run("nan.onnx", "--exclude", "fc2", "--quiet")).code).toBe(0);
    expect((await run("inspect", "nan.onnx")).stdout).toMatch(/fc2\.weight.* holds NaN at flat index 77\n/);
  });
});

describe("a model with external data", () => {
  async function putExternal(name: string, location: string, options: MlpOptions = {}): Promise<void> {
    const { bytes, data } = mlp({ location, ...options });
    await put(name, bytes);
    await put(location, data);
  }

  it.each(["cast", "qdq"])("%s: the output has its data beside it and runs", async (format) => {
    await put("whole.onnx", mlp().bytes);
    await putExternal("model.onnx", "weights.bin");
    const { code, stdout, stderr } = await run("model.onnx", "--format", format, "--json");
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(await listed()).toEqual([
      ...["model.int8.onnx", "model.int8.onnx.data", "model.onnx", "weights.bin", "whole.onnx"],
    ]);
    const [output, data] = [await bytesIn("model.int8.onnx"), await bytesIn("model.int8.onnx.data")];
    const { bytesBefore, bytesAfter } = JSON.parse(stdout);
    expect(bytesBefore).toBe((await bytesIn("model.onnx")).length + (await bytesIn("weights.bin")).length);
    expect(bytesAfter).toBe(output.length + data.length);
    expect(output.length).toBeLessThan(64 * 64);

    const [exact, native, web] = await Promise.all([
      outputOf(openNode(at("whole.onnx"))),
      outputOf(openNode(at("model.int8.onnx"))),
      outputOf(openWeb(output, { externalData: { "model.int8.onnx.data": data } })),
    ]);
    expect(decibels(exact, native)).toBeGreaterThan(35);
    expect(decibels(native, web)).toBeGreaterThan(80);
    // The same weights in the model itself give the same codes.
    const whole = JSON.parse((await run("whole.onnx", "--format", format, "--json")).stdout);
    expect(JSON.parse(stdout).tensors).toEqual(whole.tensors);
  });

  it("inspect and compare read it", async () => {
    await putExternal("model.onnx", "weights.bin");
    await run("model.onnx", "--quiet");
    const { stdout } = await run("inspect", "model.onnx");
    expect(stdout).toMatch(/^model\.onnx: ONNX, 19\.\d kB, with weights\.bin, IR version 8, opset 17\n/);
    expect(JSON.parse((await run("inspect", "model.int8.onnx", "--json")).stdout)).toMatchObject({
      dataFiles: ["model.int8.onnx.data"],
      quantized: [{ name: "fc1.weight" }, { name: "fc2.weight" }],
    });
    const compared = await run("compare", "model.onnx", "model.int8.onnx", "--json");
    expect(JSON.parse(compared.stdout)).toMatchObject({
      weights: [{ b: "int8" }, { b: "int8" }],
      outputs: [{ name: "y" }],
    });
  });

  it("in another folder: found there, written where the output is", async () => {
    await mkdir(at("in"));
    await mkdir(at("out"));
    await putExternal("in/model.onnx", "weights.bin");
    await rm(at("weights.bin"));
    await put("in/weights.bin", mlp().data);
    expect((await run("in/model.onnx", "-o", "out/small.onnx", "--quiet")).code).toBe(0);
    expect((await readdir(at("out"))).sort()).toEqual(["small.onnx", "small.onnx.data"]);
    expect((await outputOf(openNode(at("out/small.onnx")))).length).toBe(80);
  });

  it("an existing data file stays unless --force is given", async () => {
    await putExternal("model.onnx", "weights.bin");
    await put("model.int8.onnx.data", "precious");
    await expectRefusal(["model.onnx"], "model.int8.onnx.data: exists already; --force replaces it, -o names another");
    expect(await readFile(at("model.int8.onnx.data"), "utf8")).toBe("precious");
    expect((await run("model.onnx", "--force", "--quiet")).code).toBe(0);
    expect((await bytesIn("model.int8.onnx.data")).length).toBeGreaterThanOrEqual(64 * 64);
  });

  it("may replace itself, data and all", async () => {
    await put("whole.onnx", mlp().bytes);
    await putExternal("model.onnx", "model.onnx.data");
    expect((await run("model.onnx", "-o", "model.onnx", "--force", "--quiet")).code).toBe(0);
    expect(await listed()).toEqual(["model.onnx", "model.onnx.data", "whole.onnx"]);
    expect((await bytesIn("model.onnx.data")).length).toBeLessThan(6000);
    expect(await apart("whole.onnx", "model.onnx")).toBeGreaterThan(35);
  });

  // --force is meant for what the output was before, not for the input's own weights.
  it("an output of another name does not take the input's weights away", async () => {
    await putExternal("renamed.onnx", "model.onnx.data");
    const weights = await bytesIn("model.onnx.data");
    await expectRefusal(
      ["renamed.onnx", "-o", "model.onnx", "--force"],
      "wasm-quant: model.onnx.data: holds the input's weights, and the output would replace it; name another output\n",
    );
    expect(await bytesIn("model.onnx.data")).toEqual(weights);
    expect((await run("inspect", "renamed.onnx")).code).toBe(0);
  });

  it("with nothing to do comes out the same", async () => {
    await put("whole.onnx", mlp().bytes);
    await putExternal("model.onnx", "weights.bin");
    expect((await run("model.onnx", "--exclude", "*", "--allow-unchanged", "--quiet")).code).toBe(0);
    const [exact, copy] = [await outputOf(openNode(at("whole.onnx"))), await outputOf(openNode(at("model.int8.onnx")))];
    expect(copy).toEqual(exact);
  });

  // Codes below 1 kB go into the model: nothing is left for a file beside it.
  it("small weights need no data file, and one that is there is not touched", async () => {
    await putExternal("model.onnx", "weights.bin", { width: 16 });
    await put("model.int8.onnx.data", "another's");
    expect(await run("model.onnx", "--quiet")).toEqual({ code: 0, stdout: "", stderr: "" });
    expect(await listed()).toEqual(["model.int8.onnx", "model.int8.onnx.data", "model.onnx", "weights.bin"]);
    expect(await readFile(at("model.int8.onnx.data"), "utf8")).toBe("another's");
    expect(JSON.parse((await run("inspect", "model.int8.onnx", "--json")).stdout).dataFiles).toEqual([]);
  });

  it("data that is not there, too short, or elsewhere: one line that names model and weight", async () => {
    await mkdir(at("in"));
    await put("secret.bin", mlp().data);
    await put("in/model.onnx", mlp({ location: "weights.bin" }).bytes);
    const refused = (...words: string[]) =>
      expectRefusal(["in/model.onnx"], /^wasm-quant: in\/model\.onnx: tensor "fc[12]\.weight": /, ...words);
    await refused("weights.bin: no such file or folder");
    await put("in/weights.bin", mlp().data.subarray(0, 17_000));
    await refused('"fc2.weight"', "2560 bytes", "616 are there");
    await put("in/weights.bin", "");
    await refused('"fc1.weight"', "16384 bytes", "0 are there");
    await rm(at("in/weights.bin"));
    await mkdir(at("in/weights.bin"));
    await refused("is a folder");
    await rm(at("in/weights.bin"), { recursive: true });
    await symlink("../secret.bin", at("in/weights.bin"));
    await refused("is a link out of the model's folder");
    for (const location of ["../secret.bin", at("secret.bin"), "..\\secret.bin"]) {
      await put("in/model.onnx", mlp({ location }).bytes);
      await refused("leads out of the model's folder");
      expect((await run("inspect", "in/model.onnx")).stderr).toMatch(oneLine);
    }
    expect((await readdir(at("in"))).sort()).toEqual(["model.onnx", "weights.bin"]);
  });
});

describe("Ctrl-C", () => {
  const LAYERS = 120;
  const SIDE = 256;

  /** About 30 MB: 120 layers of 256 x 256, all with the same weights. */
  function large(location?: string) {
    const bytes = elementBytes("float32", normals(randomOf(6), SIDE * SIDE));
    const stored = (i: number) => {
      const entries = { location: location!, offset: String(i * bytes.length), length: String(bytes.length) };
      return location === undefined ? {} : { store: { kind: "external", entries } as const };
    };
    const layers = Array.from({ length: LAYERS }, (_, i) => i);
    const file = model({
      opsets: { "": 17 },
      graph: graph({
        nodes: layers.map((i) => node("MatMul", `x${i} w${i}`, `x${i + 1}`)),
        initializers: layers.map((i) => tensor(`w${i}`, "float32", [SIDE, SIDE], bytes, stored(i))),
        inputs: [value("x0", `float32[1,${SIDE}]`)],
        outputs: [value(`x${LAYERS}`, `float32[1,${SIDE}]`)],
      }),
    });
    return { file, data: new Uint8Array(Buffer.concat(layers.map(() => bytes))) };
  }

  /** Sends the signals once there are as many temporary files; nothing may be there then that was not before. */
  async function interrupt(signals: readonly NodeJS.Signals[], temporaries: number): Promise<void> {
    const before = await listed();
    const child = spawn(process.execPath, [main, "large.onnx", "--force"], { cwd: folder });
    let stderr = "";
    child.stderr.on("data", (chunk: Buffer) => {
      stderr += chunk;
    });
    const ended = new Promise<number | null>((resolve) => child.on("close", resolve));
    while ((await readdir(folder)).filter((name) => name.endsWith(".tmp")).length < temporaries) {
      expect(child.exitCode).toBeNull();
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    for (const signal of signals) child.kill(signal);
    expect(await ended).toBe(130);
    // A second signal does not wait for words.
    if (signals.length === 1) expect(stderr).toBe("wasm-quant: interrupted, nothing written\n");
    expect(await listed()).toEqual(before);
  }

  it("leaves nothing behind and ends with 130", async () => {
    const { file } = large();
    expect(file.length).toBeGreaterThan(30e6);
    await put("large.onnx", file);
    await interrupt(["SIGINT"], 1);
    await interrupt(["SIGTERM", "SIGINT"], 1);
  });

  it("leaves neither model nor data, and what was there", async () => {
    const { file, data } = large("large.bin");
    await put("large.onnx", file);
    await put("large.bin", data);
    await interrupt(["SIGINT"], 2);
    await put("large.int8.onnx", "old");
    await put("large.int8.onnx.data", "old data");
    await interrupt(["SIGINT", "SIGINT"], 2);
    expect(await readFile(at("large.int8.onnx"), "utf8")).toBe("old");
    expect(await readFile(at("large.int8.onnx.data"), "utf8")).toBe("old data");
  });
});

describe("library and command", () => {
  /** What the library writes as `model`, and its data file if there is one. */
  async function byLibrary(input: string, output: string, options: QuantizeModelOptions): Promise<void> {
    const source = await fileSource(at(input));
    await quantizeModel(await createEngine(), source, await fileSink(at(output)), options);
    await source.close();
  }

  it.each<[string[], QuantizeModelOptions]>([
    [[], {}],
    [
      ["--asymmetric", "--per-tensor", "--exclude", "fc1"],
      { scheme: "asymmetric", perChannel: false, exclude: ["fc1"] },
    ],
    [["--dtype", "uint8", "--symmetric", "--reduce-range"], { dtype: "uint8", scheme: "symmetric", reduceRange: true }],
    [["--dtype", "int16", "--op-types", "MatMul"], { dtype: "int16", opTypes: ["MatMul"] }],
    [
      ["--dtype", "int4", "--format", "qdq", "--opset", "21", "--block-size", "32"],
      { dtype: "int4", format: "qdq", opset: 21, blockSize: 32 },
    ],
  ])("write the same bytes: %j", async (args, options) => {
    await put("model.onnx", mlp().bytes);
    const { bytes, data } = mlp({ location: "weights.bin" });
    await put("external.onnx", bytes);
    await put("weights.bin", data);
    for (const input of ["model.onnx", "external.onnx"]) {
      // Of the same name, which the model has for its data.
      await mkdir(at("command"), { recursive: true });
      await mkdir(at("library"), { recursive: true });
      expect(await run(input, "-o", `command/${input}`, "--quiet", ...args)).toEqual({
        code: 0,
        stdout: "",
        stderr: "",
      });
      await byLibrary(input, `library/${input}`, options);
    }
    const names = (await readdir(at("command"))).sort();
    expect(names).toEqual(["external.onnx", "external.onnx.data", "model.onnx"]);
    expect((await readdir(at("library"))).sort()).toEqual(names);
    for (const name of names) {
      expect(await bytesIn(`command/${name}`)).toEqual(await bytesIn(`library/${name}`));
    }
  });

  it("of the carried model too", async () => {
    await copyFile(digits, at("digits.onnx"));
    await run("digits.onnx", "--quiet");
    await byLibrary("digits.onnx", "library.onnx", {});
    expect(await bytesIn("digits.int8.onnx")).toEqual(await bytesIn("library.onnx"));
  });
});
