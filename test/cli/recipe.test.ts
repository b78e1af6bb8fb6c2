import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runnerIn } from "../helpers/command.ts";

// The built command, making the files that transformers.js looks for.

const digits = join(import.meta.dirname, "../../example/digits.onnx");

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "wasm-quant-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const at = (...names: string[]) => join(folder, ...names);
const listed = async (...names: string[]) => (await readdir(at(...names))).sort();
const run = runnerIn(() => folder);
const recipe = ["--recipe", "transformers.js"] as const;

/** Of the digit reader: it has no MatMul, which q4, q4f16 and bnb4 store. */
const set = (stem: string) => ["fp16", "int8", "quantized", "uint8"].map((suffix) => `${stem}_${suffix}.onnx`);

it("makes the set of a model beside it, a line a file", async () => {
  await copyFile(digits, at("model.onnx"));
  const { code, stdout, stderr } = await run("model.onnx", ...recipe);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(await listed()).toEqual(["model.onnx", ...set("model")].sort());
  for (const name of set("model")) expect(stdout).toContain(name);
  expect(stdout).toMatch(
    /^left out: q4, q4f16 \(0 of 4 weights quantized: int4 stores MatMul weights, this model has 2 Conv, 2 Gemm\)$/m,
  );
  expect(stdout).toMatch(/^left out: bnb4 \(0 of 4 weights quantized: bnb4 stores MatMul weights, /m);
  expect(stdout).toMatch(/^q8 +model_quantized\.onnx +[\d.]+ kB +0\.\d+ +4 of 4 /m);
});

describe("a folder", () => {
  beforeEach(async () => {
    for (const name of ["encoder_model.onnx", "decoder_model_merged.onnx"]) await copyFile(digits, at(name));
  });

  it("is made of session by session, without what was made before", async () => {
    for (const name of ["encoder_model_q4.onnx", "encoder_model.dynamic-int8.onnx"]) await copyFile(digits, at(name));
    const { code, stdout } = await run(".", ...recipe, "--only", "q8,fp16", "--json");
    expect(code).toBe(0);
    const reports = JSON.parse(stdout);
    expect(reports.map(({ input }: { input: string }) => input)).toEqual([
      "decoder_model_merged.onnx",
      "encoder_model.onnx",
    ]);
    expect(reports[0].files.map(({ variant }: { variant: string }) => variant)).toEqual(["fp16", "q8"]);
    expect(await listed()).toEqual(
      [
        ...[
          "encoder_model.onnx",
          "encoder_model_q4.onnx",
          "encoder_model.dynamic-int8.onnx",
          "decoder_model_merged.onnx",
        ],
        ...["encoder_model_fp16.onnx", "encoder_model_quantized.onnx"],
        ...["decoder_model_merged_fp16.onnx", "decoder_model_merged_quantized.onnx"],
      ].sort(),
    );
  });

  it("named onnx within the one that is named does, too; -o names another for what is written", async () => {
    await mkdir(at("repository", "onnx"), { recursive: true });
    await copyFile(digits, at("repository", "onnx", "model.onnx"));
    const { code } = await run("repository", ...recipe, "--only", "q8", "-o", "out", "--quiet");
    expect(code).toBe(0);
    expect(await listed("out")).toEqual(["model_quantized.onnx"]);
  });

  it("is made whole or not at all: nothing of one session where another will not do", async () => {
    await writeFile(at("encoder_model.onnx"), "no model");
    const damaged = await run(".", ...recipe, "--only", "q8");
    expect(damaged).toMatchObject({ code: 1, stdout: "" });
    expect(damaged.stderr).toContain("encoder_model.onnx: ");
    expect(await listed()).toEqual(["decoder_model_merged.onnx", "encoder_model.onnx"]);

    await copyFile(digits, at("encoder_model.onnx"));
    await copyFile(digits, at("encoder_model_q4.onnx"));
    const taken = await run(".", ...recipe, "--only", "q8,q4");
    expect(taken.stderr).toContain(
      "encoder_model_q4.onnx: exists already; --force replaces it, -o names another folder",
    );
    expect(await listed()).toEqual(["decoder_model_merged.onnx", "encoder_model.onnx", "encoder_model_q4.onnx"]);
  });

  it("may leave weights as they are", async () => {
    const { stdout } = await run(".", ...recipe, "--only", "int8", "--exclude", "*", "--allow-unchanged", "--json");
    const [{ files }] = JSON.parse(stdout);
    expect(files[0].tensors.map(({ reason }: { reason?: string }) => reason)).toContain("excluded");
    expect(files[0].bytesAfter).toBe(files[0].bytesBefore);
  });

  it("fails where every variant of every session is left out, and writes nothing", async () => {
    const { code, stdout, stderr } = await run(".", ...recipe, "--only", "q4,bnb4", "-o", "out");
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(
      /^wasm-quant: \.: 0 of 4 weights quantized: int4 stores MatMul weights, .*; --allow-unchanged [^\n]*\n$/,
    );
    expect(await listed()).toEqual(["decoder_model_merged.onnx", "encoder_model.onnx"]);
  });

  it("lists what is left out of one session where another has it", async () => {
    await copyFile(join(import.meta.dirname, "../fixtures/models/tiny_transformer.onnx"), at("encoder_model.onnx"));
    const { code, stdout } = await run(".", ...recipe, "--only", "q4", "--json");
    expect(code).toBe(0);
    const reports = JSON.parse(stdout);
    expect(reports).toMatchObject([
      { input: "decoder_model_merged.onnx", files: [], skipped: [{ variant: "q4" }] },
      { input: "encoder_model.onnx", files: [{ variant: "q4", output: "encoder_model_q4.onnx" }], skipped: [] },
    ]);
    expect(await listed()).toEqual(["decoder_model_merged.onnx", "encoder_model.onnx", "encoder_model_q4.onnx"]);
  });

  it("with two models that would be written to files of the same names is refused", async () => {
    await copyFile(digits, at("encoder_model.ONNX"));
    const before = await listed();
    const { code, stderr } = await run(".", ...recipe);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^wasm-quant: encoder_model\.onnx: .*same name; rename it\n$/i);
    expect(await listed()).toEqual(before);
  });

  it("that has no models is refused", async () => {
    await mkdir(at("empty"));
    const { code, stderr } = await run("empty", ...recipe);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^wasm-quant: empty: is a folder without \.onnx models[^\n]*\n$/);
  });
});

it("leaves what is there, and makes nothing, unless it is forced", async () => {
  await copyFile(digits, at("model.onnx"));
  await copyFile(digits, at("model_uint8.onnx"));
  const refused = await run("model.onnx", ...recipe);
  expect(refused.code).toBe(1);
  expect(refused.stderr).toMatch(/^wasm-quant: model_uint8\.onnx: exists already; --force[^\n]*\n$/);
  expect(await listed()).toEqual(["model.onnx", "model_uint8.onnx"]);
  expect((await run("model.onnx", ...recipe, "--force", "--quiet")).code).toBe(0);
  expect(await readFile(at("model_uint8.onnx"))).not.toEqual(await readFile(digits));
});

it.each([
  [["--recipe", "gguf"], /transformers\.js/],
  [[...recipe, "--only", "q5"], /There is no q5; allowed are fp16, q8/],
  [[...recipe, "--dtype", "int8"], /cannot be used with/],
  [[...recipe, "--target", "webgpu"], /cannot be used with/],
  [["--only", "q8"], /'--only <list>' is for --recipe/],
])("%j is wrong usage", async (args, words) => {
  await copyFile(digits, at("model.onnx"));
  const { code, stderr } = await run("model.onnx", ...args);
  expect(code).toBe(2);
  expect(stderr).toMatch(words);
  expect(await listed()).toEqual(["model.onnx"]);
});

it("a folder without a recipe is no model", async () => {
  const { code, stderr } = await run(".");
  expect(code).toBe(1);
  expect(stderr).toMatch(/^wasm-quant: [^\n]*\n$/);
});
