import { execFile } from "node:child_process";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { feedsFromNpz, randomFeeds } from "../../src/compare/feeds.ts";
import type { ModelRuntime, ModelSession } from "../../src/compare/model-runtime.ts";
import type { FeedTensor } from "../../src/compare/tensor-values.ts";
import { bytesSource } from "../../src/formats/byte-source.ts";
import { fileSource, onnxRuntimeNode } from "../../src/node.ts";
import type { OnnxModel } from "../helpers/onnx.ts";
import * as build from "../helpers/onnx-build.ts";
import { tensor } from "../helpers/onnx-tensors.ts";
import { writeModel } from "../helpers/onnx-writer.ts";
import { normals, randomOf } from "../helpers/random.ts";

const root = join(import.meta.dirname, "../..");
const digits = join(root, "example/digits.onnx");

let folder: string;
let runtime: ModelRuntime;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "wasm-quant-"));
  runtime = await onnxRuntimeNode({ threads: 1 });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const at = (path: string) => bytesSource(new Uint8Array(0), path);

async function withSession<T>(path: string, use: (session: ModelSession) => Promise<T>): Promise<T> {
  const session = await runtime.open(at(path));
  try {
    return await use(session);
  } finally {
    await session.close();
  }
}

const bytes = (data: ArrayBufferView) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);

/** Writes a model of one kind or another; its path. */
async function modelOf(name: string, graph: Partial<OnnxModel>): Promise<string> {
  const path = join(folder, `${name}.onnx`);
  const model = { irVersion: 10, opset: 21, nodes: [], initializers: [], inputs: [], outputs: [], ...graph };
  await writeFile(path, writeModel(model));
  return path;
}

const node = (op: string, inputs: string[], outputs: string[], attributes: Record<string, number> = {}) => ({
  ...{ op, inputs, outputs, attributes },
});

/** The labels and pictures of the example, beyond the 128-byte headers of their files. */
async function examples(count: number) {
  const images = (await readFile(join(root, "example/digits-images.npy"))).subarray(128);
  const labels = (await readFile(join(root, "example/digits-labels.npy"))).subarray(128);
  const data = Float32Array.from(images.subarray(0, count * 400), (x) => x / 255);
  return {
    labels: [...labels.subarray(0, count)],
    feed: { dtype: "float32", shape: [count, 1, 20, 20], data } as FeedTensor,
  };
}

describe("onnxRuntimeNode", () => {
  it("says what goes into a model and what comes out", async () => {
    await withSession(digits, async ({ inputs, outputs }) => {
      expect(inputs).toEqual([{ name: "image", dtype: "float32", shape: ["batch", 1, 20, 20] }]);
      expect(outputs).toEqual([{ name: "scores", dtype: "float32", shape: ["batch", 10] }]);
    });
  });

  it("runs the example, which reads digits", async () => {
    const { labels, feed } = await examples(50);
    const { scores, ...others } = await withSession(digits, ({ run }) => run({ image: feed }));
    expect(others).toEqual({});
    expect(scores).toMatchObject({ dtype: "float32", shape: [50, 10] });
    const read = labels.filter((label, i) => {
      const row = Array.from(scores!.data as Float32Array).slice(10 * i, 10 * i + 10);
      return row.indexOf(Math.max(...row)) === label;
    });
    expect(read.length).toBeGreaterThan(45);
  });

  it("runs on inputs that are made up, and on those of an array", async () => {
    await withSession(digits, async ({ inputs, run }) => {
      const [random] = randomFeeds(inputs, { seed: 1, sets: 1, limits: new Map() });
      expect((await run(await random!.read())).scores!.shape).toEqual([1, 10]);
      const image = { descr: "|u1", shape: [2, 1, 20, 20], data: new Uint8Array(800) } as const;
      const [given] = feedsFromNpz([{ name: "image", read: async () => image }], inputs, "x.npz");
      expect((await run(await given!.read())).scores!.shape).toEqual([2, 10]);
    });
  });

  it("passes every type in and out", async () => {
    const feeds: Record<string, FeedTensor> = {
      a: { dtype: "float16", shape: [2], data: Uint16Array.of(0x3c00, 0xfbff) },
      b: { dtype: "int8", shape: [2], data: Int8Array.of(-128, 127) },
      c: { dtype: "uint8", shape: [2], data: Uint8Array.of(0, 255) },
      d: { dtype: "int16", shape: [2], data: Int16Array.of(-32768, 32767) },
      e: { dtype: "uint16", shape: [2], data: Uint16Array.of(0, 65535) },
      f: { dtype: "int32", shape: [2], data: Int32Array.of(-2147483648, 2147483647) },
      g: { dtype: "float32", shape: [2], data: Float32Array.of(0.1, Number.NaN) },
    };
    const names = Object.keys(feeds);
    const values = (prefix: string) =>
      names.map((name) => ({ name: prefix + name, type: feeds[name]!.dtype as "int8", shape: [2] }));
    const path = await modelOf("types", {
      nodes: names.map((name) => node("Identity", [name], [`y${name}`])),
      inputs: values(""),
      outputs: values("y"),
    });
    const wanted = Object.fromEntries(names.map((name) => [`y${name}`, feeds[name]]));
    expect(await withSession(path, ({ run }) => run(feeds))).toEqual(wanted);
  });

  it("leaves out int4 outputs, which it names, and gives the others", async () => {
    const x = { name: "x", type: "float32", shape: [4] } as const;
    const codes = { name: "codes", type: "int4", shape: [4] } as const;
    const graph = {
      nodes: [node("QuantizeLinear", ["x", "scale", "zero"], ["codes"]), node("Neg", ["x"], ["y"])],
      initializers: [
        { name: "scale", type: "float32", shape: [], bytes: bytes(Float32Array.of(1)) },
        { name: "zero", type: "int4", shape: [], bytes: Uint8Array.of(0) },
      ],
      inputs: [x],
    } as const;
    const feed: FeedTensor = { dtype: "float32", shape: [4], data: Float32Array.of(1, 2, 3, 4) };
    const both = await modelOf("both", { ...graph, outputs: [codes, { ...x, name: "y" }] });
    await withSession(both, async ({ outputs, run }) => {
      expect(outputs.map(({ name, dtype }) => [name, dtype])).toEqual([
        ["codes", "int4"],
        ["y", "float32"],
      ]);
      expect(await run({ x: feed })).toEqual({ y: { ...feed, data: Float32Array.of(-1, -2, -3, -4) } });
    });
    const alone = await modelOf("alone", { ...graph, nodes: graph.nodes.slice(0, 1), outputs: [codes] });
    expect(await withSession(alone, ({ run }) => run({ x: feed }))).toEqual({});
  });

  it("multiplies by dequantized weights without rounding the activations", async () => {
    const [k, n, block] = [64, 32, 32];
    const random = randomOf(5);
    const weights = Int8Array.from({ length: k * n }, () => Math.floor(random() * 16) - 8);
    const scales = normals(random, (k / block) * n).map(Math.abs);
    const x = normals(random, k);
    const packed = Uint8Array.from({ length: (k * n) / 2 }, (_, i) => {
      return (weights[2 * i]! & 15) | ((weights[2 * i + 1]! & 15) << 4);
    });
    const path = await modelOf("matmul", {
      nodes: [
        node("DequantizeLinear", ["q", "scale"], ["w"], { axis: 0, block_size: block }),
        node("MatMul", ["x", "w"], ["y"]),
      ],
      initializers: [
        { name: "q", type: "int4", shape: [k, n], bytes: packed },
        { name: "scale", type: "float32", shape: [k / block, n], bytes: bytes(scales) },
      ],
      inputs: [{ name: "x", type: "float32", shape: [1, k] }],
      outputs: [{ name: "y", type: "float32", shape: [1, n] }],
    });
    const { y } = await withSession(path, ({ run }) => run({ x: { dtype: "float32", shape: [1, k], data: x } }));
    const wanted = Array.from({ length: n }, (_, j) =>
      x.reduce((sum, xi, i) => sum + xi * weights[i * n + j]! * scales[Math.floor(i / block) * n + j]!, 0),
    );
    const largest = Math.max(...wanted.map(Math.abs));
    wanted.forEach((value, j) => {
      expect(Math.abs((y!.data[j] as number) - value) / largest).toBeLessThan(1e-5);
    });
  });

  it("takes the path from the source, as fileSource gives it", async () => {
    const source = await fileSource(digits);
    const session = await runtime.open(source);
    await session.close();
    await source.close();
  });
});

describe("what the runtime refuses", () => {
  it("to load is one line with the model's name", async () => {
    const path = join(folder, "broken.onnx");
    await writeFile(path, "not a model");
    await expect(runtime.open(at(path))).rejects.toMatchObject({
      name: "FormatError",
      file: path,
      message: expect.stringMatching(/^[^\n]*broken\.onnx: [^\n]*failed[^\n]*$/),
    });
  });

  it("is said without the place in the runtime's own source, and with all else", async () => {
    const reshaped = (opset: number) =>
      build.model({
        opsets: { "": opset },
        graph: build.graph({
          nodes: [build.node("Reshape", "x s", "y")],
          initializers: [tensor("s", "int64", [1], [5])],
          inputs: [build.value("x", "float32[n]")],
          outputs: [build.value("y", "float32[5]")],
        }),
      });
    const said = (action: Promise<unknown>) =>
      action.then(
        () => "nothing",
        ({ message }: Error) => message,
      );
    // That the runtime gives the place at all is held as well: else there would be nothing here to leave out.
    const place = /\/onnxruntime\/core\/\S+\.(cc|h):\d+ /;
    const logSeverityLevel = 4;

    const future = join(folder, "future.onnx");
    await writeFile(future, reshaped(99));
    expect(await said(InferenceSession.create(future, { logSeverityLevel }))).toMatch(place);
    const load = await said(runtime.open(at(future)));
    expect(load).toMatch(/^\S+future\.onnx: Load model from \S+future\.onnx failed:ONNX Runtime only \*guarantees\* /);
    expect(load).toMatch(/ is till opset \d+\.$/);

    const path = join(folder, "reshaped.onnx");
    await writeFile(path, reshaped(13));
    const data = new Float32Array(3);
    const raw = await InferenceSession.create(path, { logSeverityLevel });
    expect(await said(raw.run({ x: new Tensor("float32", data, [3]) }))).toMatch(place);
    await raw.release();
    const run = await withSession(path, (session) => said(session.run({ x: { dtype: "float32", shape: [3], data } })));
    const [, where, what] = /^(.*) Status Message: (.*)$/.exec(run)!;
    expect(where).toBe(`${path}: Non-zero status code returned while running Reshape node. Name:'Reshape_of_y'`);
    expect(what).toMatch(/^input_shape_size == .* Input shape:\{3\}, requested shape:\{5\}$/);
  });

  it("to run is one line with the model's name", async () => {
    const wrong: FeedTensor = { dtype: "float32", shape: [1, 1, 5, 5], data: new Float32Array(25) };
    await withSession(digits, async ({ run }) => {
      await expect(run({ image: wrong })).rejects.toMatchObject({
        name: "FormatError",
        file: digits,
        message: expect.stringMatching(/^[^\n]*digits\.onnx: [^\n]*dimensions[^\n]*$/),
      });
      await expect(run({})).rejects.toMatchObject({
        name: "FormatError",
        message: expect.stringContaining("input 'image' is missing"),
      });
    });
  });
});

describe("a process of its own", () => {
  /** What it prints that runs `script`, which finds the runtime in `src`. */
  async function execute(src: string, script: string) {
    const main = join(folder, "main.ts");
    await writeFile(
      main,
      `import { onnxRuntimeNode } from ${JSON.stringify(join(src, "node/onnxruntime.ts"))};\n${script}`,
    );
    const tsx = pathToFileURL(join(root, "node_modules/tsx/dist/loader.mjs")).href;
    return promisify(execFile)("node", ["--import", tsx, main]);
  }

  it("without the package is told what to install", async () => {
    const src = join(folder, "src");
    await cp(join(root, "src"), src, { recursive: true });
    const script = "onnxRuntimeNode().catch(({ tag, message }) => console.log(JSON.stringify([tag, message])));";
    const { stdout } = await execute(src, script);
    const message = "onnxruntime-node: is not installed: npm install onnxruntime-node";
    expect(JSON.parse(stdout)).toEqual(["file", message]);
  });

  it("finds nothing on stderr when a model loads, runs and fails", async () => {
    const gather = await modelOf("gather", {
      nodes: [node("Gather", ["table", "ids"], ["y"])],
      initializers: [{ name: "table", type: "float32", shape: [2], bytes: bytes(Float32Array.of(5, 6)) }],
      inputs: [{ name: "ids", type: "int32", shape: [1] }],
      outputs: [{ name: "y", type: "float32", shape: [1] }],
    });
    const script = `
      const ids = (id) => ({ ids: { dtype: "int32", shape: [1], data: Int32Array.of(id) } });
      onnxRuntimeNode().then(async (runtime) => {
        const session = await runtime.open({ name: ${JSON.stringify(gather)} });
        console.log((await session.run(ids(1))).y.data[0]);
        await session.run(ids(9)).catch(({ message }) => console.log(message));
        await session.close();
        await runtime.open({ name: "nowhere.onnx" }).catch(({ message }) => console.log(message));
      });
    `;
    const { stdout, stderr } = await execute(join(root, "src"), script);
    const [value, run, load, ...more] = stdout.split("\n");
    expect([value, ...more, stderr]).toEqual(["6", "", ""]);
    expect(run).toContain(`${gather}: Non-zero status code returned while running Gather node`);
    expect(load).toMatch(/^nowhere\.onnx: .*File doesn't exist/);
  });

  it("gets the bits of float16, also where there is a Float16Array", async () => {
    const x = { name: "x", type: "float16", shape: [2] } as const;
    const path = await modelOf("half", {
      ...{ nodes: [node("Identity", ["x"], ["y"])], inputs: [x], outputs: [{ ...x, name: "y" }] },
    });
    const script = `
      globalThis.Float16Array = class Float16Array extends Uint16Array {};
      const data = Uint16Array.of(0x3c00, 0xfbff);
      onnxRuntimeNode().then(async (runtime) => {
        const session = await runtime.open({ name: ${JSON.stringify(path)} });
        const { y } = await session.run({ x: { dtype: "float16", shape: [2], data } });
        console.log(y.dtype, y.data.constructor.name, ...y.data);
      });
    `;
    expect(await execute(join(root, "src"), script)).toMatchObject({
      stdout: `float16 Uint16Array ${0x3c00} ${0xfbff}\n`,
      stderr: "",
    });
  });
});
