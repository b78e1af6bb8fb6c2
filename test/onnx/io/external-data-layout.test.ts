import { link, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createEngine, type Engine } from "../../../src/engine/engine.ts";
import { bytesOf } from "../../../src/engine/tensors/tensor.ts";
import { type ByteSink, type ByteSource, bytesSink, bytesSource } from "../../../src/formats/byte-source.ts";
import { type QuantizeModelOptions, quantizeModel } from "../../../src/model.ts";
import { fileSink, fileSource } from "../../../src/node.ts";
import { graph, model, node, value } from "../../helpers/onnx-build.ts";
import { graphIn, integers, payloads, readGraph, texts } from "../../helpers/onnx-read.ts";
import { tensor } from "../../helpers/onnx-tensors.ts";
import { normals, randomOf } from "../../helpers/random.ts";

// The data file of a model whose weights are outside: when there is one, what goes to it and where, and which file it may
// take the place of. That such models run, and that shared bytes are there once, is in fixtures.test.ts.

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine();
});

interface Layer {
  readonly shape: readonly [number, number];
  /** In the model itself. */
  readonly inside?: true;
}

/** A model of MatMuls, one for each layer, and a data file with those of their weights that are outside. */
function parted(layers: Readonly<Record<string, Layer>>, location = "w.bin") {
  const data: Uint8Array[] = [];
  let offset = 0;
  const initializers = Object.entries(layers).map(([name, { shape, inside }], i) => {
    const values = normals(randomOf(i + 1), shape[0] * shape[1]);
    if (inside) return tensor(name, "float32", shape, values);
    const entries = { location, offset: String(offset), length: String(values.byteLength) };
    data.push(bytesOf(values));
    offset += values.byteLength;
    return tensor(name, "float32", shape, [], { store: { kind: "external", entries } });
  });
  const names = Object.keys(layers);
  const bytes = model({
    opsets: { "": 13 },
    graph: graph({
      nodes: names.map((name) => node("MatMul", `x_${name} ${name}`, `y_${name}`)),
      initializers,
      inputs: names.map((name) => value(`x_${name}`, "float32")),
      outputs: names.map((name) => value(`y_${name}`, "float32")),
    }),
  });
  return { bytes, data: new Uint8Array(Buffer.concat(data)) };
}

/** A source with one file beside it. */
function beside({ bytes, data }: ReturnType<typeof parted>, identity?: { model?: string; data?: string }): ByteSource {
  return {
    ...bytesSource(bytes, "model.onnx"),
    identity: identity?.model,
    sibling: async (path) => ({ ...bytesSource(data, path), identity: identity?.data }),
  };
}

/** A sink that keeps what becomes of model and data. */
function keeping({ replaces, dataReplaces }: { replaces?: string; dataReplaces?: string } = {}) {
  const [main, data] = [bytesSink(), bytesSink()];
  const told = { suffixes: [] as string[], closed: false, aborted: false };
  const sink: ByteSink = {
    write: main.write,
    replaces,
    close: async () => {
      told.closed = true;
    },
    abort: async () => {
      told.aborted = true;
    },
    companion: async (suffix) => {
      told.suffixes.push(suffix);
      return { name: `out.onnx${suffix}`, write: data.write, replaces: dataReplaces };
    },
  };
  return { sink, told, main: () => main.result(), data: () => data.result() };
}

async function quantized(layers: Readonly<Record<string, Layer>>, options: QuantizeModelOptions = {}) {
  const kept = keeping();
  const report = await quantizeModel(engine, beside(parted(layers)), kept.sink, options);
  const tensors = readGraph(graphIn(kept.main())).initializers.map(({ name, raw, message }) => {
    const entries = payloads(message, 13).map((each) => [texts(each, 1)[0]!, texts(each, 2)[0]!]);
    const { location, offset, length } = Object.fromEntries(entries);
    const outside = integers(message, 14)[0] === 1;
    return { name, raw, outside, location, offset: Number(offset ?? 0), length: Number(length ?? 0) };
  });
  return { ...kept, report, tensors, outside: tensors.filter((each) => each.outside).map(({ name }) => name) };
}

describe("what goes to the data file", () => {
  it("codes of 1 KiB and more; what is shorter stays in the model", async () => {
    const { outside, tensors, data, report, main } = await quantized({
      long: { shape: [32, 32] },
      short: { shape: [33, 31] },
      wide: { shape: [4, 256] },
    });
    // 1024 codes, 1023 codes, 1024 codes with 256 scales: 1024 bytes of those as well.
    expect(outside).toEqual(["long_quantized", "wide_quantized", "wide_scale"]);
    expect(tensors.find(({ name }) => name === "short_quantized")!.raw).toHaveLength(1023);
    expect(data()).toHaveLength(3 * 1024);
    expect(report.bytesAfter).toBe(main().length + data().length);
  });

  it("none that was in the model, however long", async () => {
    const { outside, tensors } = await quantized({
      inner: { shape: [64, 64], inside: true },
      outer: { shape: [64, 64] },
    });
    expect(outside).toEqual(["outer_quantized"]);
    expect(tensors.find(({ name }) => name === "inner_quantized")!.raw).toHaveLength(4096);
  });

  it("weights that stay, however short, byte for byte", async () => {
    const layers = { kept: { shape: [3, 5] }, long: { shape: [64, 64] } } as const;
    const { outside, tensors, data } = await quantized(layers, { exclude: ["kept"] });
    expect(outside).toEqual(["kept", "long_quantized"]);
    const { offset, length } = tensors[0]!;
    expect(length).toBe(60);
    expect(data().slice(offset, offset + length)).toEqual(parted(layers).data.slice(0, 60));
  });

  it("starts at a page from 1 MiB on, and at a multiple of 16 below", async () => {
    const { tensors, data } = await quantized({
      a: { shape: [33, 32] },
      b: { shape: [33, 33] },
      large: { shape: [2048, 520] },
      almost: { shape: [1024, 1023] },
    });
    const at = Object.fromEntries(tensors.map(({ name, offset }) => [name, offset]));
    // "almost" is 1 KiB short of 1 MiB: it follows right behind the scales before it, which no page ends with.
    expect(at).toMatchObject({ a_quantized: 0, b_quantized: 1056, large_quantized: 4096 });
    expect(at.large_scale).toBe(4096 + 2048 * 520);
    expect(at.almost_quantized).toBe(at.large_scale! + 520 * 4);
    expect(data()).toHaveLength(at.almost_quantized! + 1024 * 1023 + 1023 * 4);
    const locations = tensors.flatMap(({ outside, location }) => (outside ? [location] : []));
    expect(new Set(locations)).toEqual(new Set(["out.onnx.data"]));
  });
});

describe("no data file", () => {
  it("is made for a model with all its tensors inside", async () => {
    const { told, outside } = await quantized({ inner: { shape: [64, 64], inside: true } });
    expect([outside, told]).toEqual([[], { suffixes: [], closed: true, aborted: false }]);
  });

  it("is made where nothing is left for it", async () => {
    const { told, outside, data } = await quantized({ a: { shape: [16, 16] }, b: { shape: [16, 8] } });
    expect([outside, told.suffixes, data().length]).toEqual([[], [], 0]);
  });

  it("is wanted from a sink that has no place for one, if it would not be made", async () => {
    const sinkOf = () => {
      const { companion: _, ...alone } = keeping().sink;
      return alone;
    };
    const small = parted({ a: { shape: [16, 16] } });
    await expect(quantizeModel(engine, beside(small), sinkOf())).resolves.toMatchObject({ tensors: [{ to: "int8" }] });
    const large = parted({ a: { shape: [64, 64] } });
    await expect(quantizeModel(engine, beside(large), sinkOf())).rejects.toMatchObject({
      tag: "argument",
      argument: "sink",
    });
    // As it was it stays outside, so that a place is wanted again.
    await expect(
      quantizeModel(engine, beside(small), sinkOf(), { exclude: ["*"], allowUnchanged: true }),
    ).rejects.toThrow(/^sink: /);
  });
});

describe("in place of another file", () => {
  const large = parted({ a: { shape: [64, 64] } });
  const keeps = /^w\.bin: holds the input's weights, .*; name another output$/;

  it("that holds the input's weights: refused, whatever it is called, and given up", async () => {
    const { sink, told, data, main } = keeping({ dataReplaces: "data" });
    const source = beside(large, { model: "model", data: "data" });
    const error = await quantizeModel(engine, source, sink).catch((cause: unknown) => cause);
    expect(error).toMatchObject({ tag: "file", file: "w.bin", message: expect.stringMatching(keeps) });
    expect(told).toEqual({ suffixes: [".data"], closed: false, aborted: true });
    expect([data().length, main().length]).toEqual([0, 0]);
  });

  it("by the model itself, which may be called as the weights are", async () => {
    const { sink, told } = keeping({ replaces: "data" });
    const source = beside(large, { model: "model", data: "data" });
    await expect(quantizeModel(engine, source, sink)).rejects.toThrow(keeps);
    expect(told).toMatchObject({ closed: false, aborted: true });
  });

  it("with nothing to quantize as well: the copy would replace what it is copied from", async () => {
    const { sink } = keeping({ dataReplaces: "data", replaces: "another" });
    const source = beside(large, { model: "model", data: "data" });
    await expect(quantizeModel(engine, source, sink, { exclude: ["*"], allowUnchanged: true })).rejects.toThrow(keeps);
  });

  it.each([
    ["the input itself: its data goes with it", { replaces: "model", dataReplaces: "data" }],
    ["another model's data", { dataReplaces: "other" }],
    ["another model and its data", { replaces: "other", dataReplaces: "other data" }],
    ["nothing", {}],
  ])("%s is fine", async (_, replaced) => {
    const { sink, told, data } = keeping(replaced);
    await quantizeModel(engine, beside(large, { model: "model", data: "data" }), sink);
    expect(told).toMatchObject({ closed: true, aborted: false });
    expect(data()).toHaveLength(4096);
  });

  it("sources and sinks that cannot tell files apart are not taken for the same", async () => {
    const { sink, told } = keeping();
    await quantizeModel(engine, beside(large), sink);
    expect(told.closed).toBe(true);
  });
});

describe("of files on a disk", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "wasm-quant-place-"));
  });
  afterAll(() => rm(folder, { recursive: true }));
  beforeEach(async () => {
    for (const name of await readdir(folder)) await rm(join(folder, name));
    const { bytes, data } = parted({ a: { shape: [64, 64] } });
    await writeFile(join(folder, "model.onnx"), bytes);
    await writeFile(join(folder, "w.bin"), data);
  });

  async function run(output: string): Promise<void> {
    const source = await fileSource(join(folder, "model.onnx"));
    try {
      await quantizeModel(engine, source, await fileSink(join(folder, output), { overwrite: true }));
    } finally {
      await source.close();
    }
  }

  it.each([
    ["a link", symlink],
    ["a second name", link],
  ])("%s to the input's weights where the output's would be is seen through", async (_, put) => {
    await put(join(folder, "w.bin"), join(folder, "out.onnx.data"));
    const before = await readFile(join(folder, "w.bin"));
    await expect(run("out.onnx")).rejects.toThrow(/w\.bin: holds the input's weights, .*; name another output$/);
    expect(await readFile(join(folder, "w.bin"))).toEqual(before);
    expect((await readdir(folder)).sort()).toEqual(["model.onnx", "out.onnx.data", "w.bin"]);
  });

  it("the same bytes in a file of their own are another file's", async () => {
    await writeFile(join(folder, "out.onnx.data"), await readFile(join(folder, "w.bin")));
    await run("out.onnx");
    expect(await readFile(join(folder, "out.onnx.data"))).toHaveLength(4096);
  });

  it("a link to the input is the input: both are replaced, and the weights stay where they were", async () => {
    await symlink("model.onnx", join(folder, "out.onnx"));
    await run("out.onnx");
    expect((await readdir(folder)).sort()).toEqual(["model.onnx", "out.onnx", "out.onnx.data", "w.bin"]);
    expect(await readFile(join(folder, "w.bin"))).toHaveLength(4 * 4096);
  });
});

describe("tensors that share their bytes", () => {
  const location = "w.bin";
  const values = normals(randomOf(1), 64 * 64);
  const entries = { location, offset: "0", length: String(values.byteLength) };
  const tied = model({
    opsets: { "": 17 },
    graph: graph({
      nodes: [node("MatMul", "x a", "h"), node("MatMul", "h b", "y")],
      initializers: ["a", "b"].map((name) =>
        tensor(name, "float32", [64, 64], [], { store: { kind: "external", entries } }),
      ),
      inputs: [value("x", "float32[4,64]")],
      outputs: [value("y", "float32")],
    }),
  });

  it.each<QuantizeModelOptions>([{}, { mode: "dynamic" }, { dtype: "int4" }, { dtype: "float16" }])(
    "go on sharing them, %j",
    async (options) => {
      const alone = async (bytes: Uint8Array) => {
        const sink = bytesSink("out.onnx");
        await quantizeModel(engine, bytesSource(bytes, "model.onnx", { [location]: bytesOf(values) }), sink, options);
        return sink.result(".data")!;
      };
      const once = parted({ a: { shape: [64, 64] } }, location);
      expect(await alone(tied)).toEqual(await alone(once.bytes));
    },
  );
});
