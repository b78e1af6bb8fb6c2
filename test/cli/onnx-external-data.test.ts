import { spawn } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { main, runnerIn } from "../helpers/command.ts";
import { decibels, feeds, type MlpOptions, mlp, oneLine } from "../helpers/command-models.ts";
import { graph, model, node, value } from "../helpers/onnx-build.ts";
import { elementBytes, tensor } from "../helpers/onnx-tensors.ts";
import { normals, randomOf } from "../helpers/random.ts";
import { openNode, openWeb, type Session, withSession } from "../helpers/sessions.ts";

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

async function outputOf(session: Promise<Session>): Promise<Float32Array> {
  return withSession(session, async (opened) => (await opened.run(feeds)).y!.data as Float32Array);
}

/** The same of what two models give. */
async function apart(exact: string, approximate: string): Promise<number> {
  return decibels(await outputOf(openNode(at(exact))), await outputOf(openNode(at(approximate))));
}

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
