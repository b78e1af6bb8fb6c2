import { copyFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { runnerIn } from "../helpers/command.ts";
import { freshFolder } from "../helpers/folder.ts";
import { node } from "../helpers/onnx-build.ts";
import { floats, sketch } from "../helpers/sketch.ts";

// What the built command says, and does not write, where a run would quantize nothing, and of options of its own for that.

const folder = freshFolder();
const run = runnerIn(() => folder.path);

const convolutions = sketch({
  nodes: [node("Conv", "x k", "h"), node("Conv", "h l", "y")],
  weights: { k: [8, 4, 3, 3], l: [8, 8, 3, 3] },
  feeds: { x: floats([1, 4, 9, 9]) },
  outputs: ["y"],
});

beforeEach(async () => {
  await writeFile(folder.at("conv.onnx"), convolutions);
});

const failure = (line: string) => ({ code: 1, stdout: "", stderr: `wasm-quant: ${line}\n` });

it.each([
  [
    ["--dtype", "int4"],
    "conv.onnx: 0 of 2 weights quantized: int4 stores MatMul and Gemm weights, this model has 2 Conv; try --format qdq",
  ],
  [
    ["--dtype", "bfloat16"],
    "conv.onnx: 0 of 2 weights converted: used by Conv (has bfloat16 from opset 22 on); try --opset 22",
  ],
  [
    ["--dtype", "int4", "--algorithm", "mse"],
    "conv.onnx: 0 of 2 weights quantized: int4 stores MatMul and Gemm weights, this model has 2 Conv; " +
      "try --format qdq without --algorithm",
  ],
  [["--exclude", "*"], "conv.onnx: 0 of 2 weights quantized: excluded; --allow-unchanged copies it as it is"],
])("%j fails in one line with what would work, and writes nothing", async (args, line) => {
  expect(await run("conv.onnx", ...args)).toEqual(failure(line));
  expect(await folder.names()).toEqual(["conv.onnx"]);
  const [advice = "", without] = /try (.*)$/.exec(line)?.[1]?.split(" without ") ?? ["--allow-unchanged"];
  const rest = without === undefined ? args : args.slice(0, args.indexOf(without));
  expect((await run("conv.onnx", ...rest, ...advice.split(" "), "--quiet", "-o", "out.onnx")).code).toBe(0);
});

it("--allow-unchanged with a model that has nothing copies it, and says so", async () => {
  const { code, stdout } = await run("conv.onnx", "--dtype", "int4", "--allow-unchanged");
  expect(code).toBe(0);
  expect(stdout).toContain("nothing to do: the model is written as it was read");
});

describe("a model that is quantized already", () => {
  it("is refused for integers, taken for half precision, and by --again, given twice as well", async () => {
    expect((await run("conv.onnx", "--include", "k", "--quiet", "-o", "half.onnx")).code).toBe(0);
    expect(await run("half.onnx", "--mode", "dynamic")).toEqual(
      failure(
        "half.onnx: is quantized already: 1 weight of int8; quantize the float model it was made from " +
          "(--again quantizes the float weights that are left)",
      ),
    );
    expect((await run("half.onnx", "--dtype", "float16", "--quiet")).code).toBe(0);
    const { code, stdout } = await run("half.onnx", "--again", "--again");
    expect(code).toBe(0);
    expect(stdout).toContain("1 of 1 tensors quantized");
    expect(await run("half.int8.onnx", "--again")).toEqual(
      failure(
        "half.int8.onnx: nothing quantized: all 2 weights are quantized already; " +
          "--allow-unchanged copies it as it is",
      ),
    );
  });

  it("is refused in a set, but for fp16", async () => {
    expect((await run("conv.onnx", "--quiet")).code).toBe(0);
    await copyFile(folder.at("conv.int8.onnx"), folder.at("model.onnx"));
    const set = ["model.onnx", "--recipe", "transformers.js"];
    const made = await run(...set);
    expect(made.stderr).toBe("");
    expect(made.stdout).toContain(
      "left out: q8, int8, uint8, q4, q4f16, bnb4 (is quantized already: 2 weights of int8; ",
    );
    expect(await folder.names()).toEqual(["conv.int8.onnx", "conv.onnx", "model.onnx", "model_fp16.onnx"]);
    expect((await run(...set, "--only", "q8")).stderr).toContain("model.onnx: is quantized already: 2 weights of int8");
    const { code, stdout } = await run(...set, "--only", "q8", "--again");
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
  });
});

describe("--op-types", () => {
  it.each([
    ["Cnov", "did you mean Conv?"],
    ["conv", "did you mean Conv?"],
    ["Conv,MatMull", "did you mean MatMul?"],
    ["Frobnicate", "with weights it has: Conv"],
  ])("%s names no operator that is known: %s", async (types, words) => {
    const { code, stderr } = await run("conv.onnx", "--op-types", types);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^wasm-quant: --op-types: the model has no \w+ node; [^\n]*\n$/);
    expect(stderr).toContain(words);
    expect(await folder.names()).toEqual(["conv.onnx"]);
  });

  it("brings ConvInteger back in dynamic mode", async () => {
    const plain = await run("conv.onnx", "--mode", "dynamic");
    expect(plain.stdout).toContain(
      "2 weights are stored as codes, and the layer computes in floating point as before " +
        "(Conv: ConvInteger is slower than Conv in ONNX Runtime on CPUs; --op-types Conv uses it anyway)\n",
    );
    const integer = await run("conv.onnx", "--mode", "dynamic", "--op-types", "Conv", "-o", "integer.onnx");
    expect(integer.stdout).toContain("2 Conv as ConvInteger");
    expect(integer.stdout).toContain("float32 -> uint8");
  });
});

describe("--like onnxruntime", () => {
  it("is shown in the report", async () => {
    const { code, stdout } = await run("conv.onnx", "--mode", "dynamic", "--like", "onnxruntime");
    expect(code).toBe(0);
    expect(stdout).toContain("the choices of ONNX Runtime's quantize_dynamic (--like onnxruntime)\n");
  });

  it.each([
    [["--like", "olive"], /--like <tool>.*Allowed choices are onnxruntime/],
    [["--like", "onnxruntime"], /--like: is for the mode dynamic and for nbits/],
  ])("%j is wrong usage", async (args, words) => {
    const { code, stderr } = await run("conv.onnx", ...args);
    expect(code).toBe(2);
    expect(stderr).toMatch(words);
  });
});

it("the digit reader in 4 bits has its Gemm as matrices", async () => {
  await copyFile(join(import.meta.dirname, "../../example/digits.onnx"), folder.at("digits.onnx"));
  const { code, stdout } = await run("digits.onnx", "--dtype", "int4");
  expect(code).toBe(0);
  expect(stdout).toContain("2 of 4 tensors quantized");
});
