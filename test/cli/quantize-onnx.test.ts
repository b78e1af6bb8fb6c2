import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { f32, safetensorsFile } from "../helpers/checkpoints.ts";
import { processIn, runnerIn } from "../helpers/command.ts";
import { decibels, feeds, mlp, oneLine } from "../helpers/command-models.ts";
import { graphIn, readGraph } from "../helpers/onnx-read.ts";
import { openNode, type Session, withSession } from "../helpers/sessions.ts";

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

async function outputOf(session: Promise<Session>): Promise<Float32Array> {
  return withSession(session, async (opened) => (await opened.run(feeds)).y!.data as Float32Array);
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
