import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createEngine, type Engine } from "../../../src/engine/engine.ts";
import { bytesOf } from "../../../src/engine/tensors/tensor.ts";
import { type QuantizeModelOptions, quantizeModel } from "../../../src/model.ts";
import { fileSink, fileSource } from "../../../src/node.ts";
import { attribute, functionOf, graph, model, node, value } from "../../helpers/onnx-build.ts";
import { graphsIn, integers, payloads, texts } from "../../helpers/onnx-read.ts";
import { tensor } from "../../helpers/onnx-tensors.ts";
import { quantizerOf } from "../../helpers/quantized.ts";
import { normals, randomOf } from "../../helpers/random.ts";
import { distance, indices, modelOf, old, outputsOf, plain, x32, yes } from "../../helpers/weight-fixtures.ts";
import { unknownFields } from "../../helpers/wire-fields.ts";

// Models of a few nodes, in each form: the codes are those that the engine gives along the axis that suits the node, and
// what the model gives is what it gave with the values that these codes stand for, in both of ONNX Runtime's builds.

let engine: Engine;

beforeAll(async () => {
  engine = await createEngine();
});

const quantized = quantizerOf(() => engine);

describe("weights in other files", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "wasm-quant-external-"));
    await mkdir(join(folder, "in", "parts"), { recursive: true });
    await mkdir(join(folder, "out"));
  });
  afterAll(() => rm(folder, { recursive: true }));

  const w = normals(randomOf(1), 32 * 24);
  const t = normals(randomOf(2), 48 * 32);
  const b = normals(randomOf(3), 24);

  type Place = (
    name: string,
    type: "float32",
    shape: readonly number[],
    data: Float32Array,
    entries: Record<string, string>,
  ) => Uint8Array;

  /** W and V lie in the same bytes, b1 and b2 as well; T goes to the end of its file; K lies in a graph within. */
  function parted(place: Place, [first, second]: readonly [string, string]): Uint8Array {
    const at = (location: string, offset: number, length?: number) => ({
      location,
      ...(offset > 0 && { offset: String(offset) }),
      ...(length !== undefined && { length: String(length) }),
    });
    const body = (name: string) =>
      graph({
        name,
        nodes: [node("MatMul", `x K_${name}`, `${name}_y`)],
        initializers: [place(`K_${name}`, "float32", [32, 24], w, at(first, 64, w.byteLength))],
        outputs: [value(`${name}_y`, "float32")],
      });
    return modelOf(old, {
      nodes: [
        node("MatMul", "x W", "p"),
        node("Gemm", "x V b1", "q", { transB: 1 }),
        node("Add", "p b2", "r"),
        node("If", "flag", "u", { then_branch: { graph: body("then") }, else_branch: { graph: body("else") } }),
        node("Sum", "q r u", "y"),
        node("Gather", "T i", "z"),
      ],
      initializers: [
        place("W", "float32", [32, 24], w, at(first, 64, w.byteLength)),
        place("V", "float32", [24, 32], w, at(first, 64, w.byteLength)),
        place("b1", "float32", [24], b, at(first, 64 + w.byteLength, b.byteLength)),
        place("b2", "float32", [24], b, at(first, 64 + w.byteLength, b.byteLength)),
        place("T", "float32", [48, 32], t, at(second, second === first ? 8192 : 16)),
      ],
      inputs: [value("x", "float32[2,32]"), value("i", "int64[3]"), value("flag", "bool[]")],
      outputs: [value("y", "float32"), value("z", "float32")],
    });
  }

  const outside: Place = (name, type, shape, _, entries) =>
    tensor(name, type, shape, [], {
      store: { kind: "external", entries },
      doc: `about ${name}`,
      extra: unknownFields(name),
    });
  const inside: Place = (name, type, shape, data) => tensor(name, type, shape, data);
  const feeds = [{ ...x32, i: indices([3], [0, 47, -1]), flag: yes }];

  async function writeParts([first, second]: readonly [string, string]): Promise<void> {
    const one = new Uint8Array(first === second ? 8192 + t.byteLength : 64 + w.byteLength + b.byteLength).fill(0xaa);
    one.set(bytesOf(w), 64);
    one.set(bytesOf(b), 64 + w.byteLength);
    if (first === second) one.set(bytesOf(t), 8192);
    await writeFile(join(folder, "in", first), one);
    if (first !== second) await writeFile(join(folder, "in", second), Buffer.concat([Buffer.alloc(16), bytesOf(t)]));
  }

  async function run(name: string, output: string, options: QuantizeModelOptions = {}, overwrite = false) {
    const source = await fileSource(join(folder, "in", name));
    try {
      return await quantizeModel(engine, source, await fileSink(output, { overwrite }), {
        allowUnchanged: true,
        ...options,
      });
    } finally {
      await source.close();
    }
  }

  function placesIn(bytes: Uint8Array) {
    return graphsIn(bytes)
      .flatMap(({ initializers }) => initializers)
      .filter(({ message }) => integers(message, 14)[0] === 1)
      .map(({ name, message }) => {
        const entries = payloads(message, 13).map((entry) => [texts(entry, 1)[0]!, texts(entry, 2)[0]!]);
        const { location, offset, length } = Object.fromEntries(entries);
        return { name, location, offset: Number(offset), length: Number(length), message };
      });
  }

  describe.each([
    { title: "one file", files: ["one.bin", "one.bin"] },
    { title: "two files", files: ["one.bin", "two.bin"] },
    { title: "files in a folder below", files: ["parts/one.bin", "parts/two.bin"] },
  ] as const)("$title", ({ title, files }) => {
    const base = title.replaceAll(" ", "-");
    beforeAll(async () => {
      await writeParts(files);
      await writeFile(join(folder, "in", `${base}.onnx`), parted(outside, files));
    });

    it.each([
      ["cast int8", {}],
      ["cast uint8 per tensor", { dtype: "uint8", perChannel: false }],
      ["qdq int8", { format: "qdq" }],
      ["nothing", { exclude: ["*"] }],
      ["the table alone", { include: ["T"] }],
    ] as const)("%s", async (form, options) => {
      const output = join(folder, "out", `${base}-${form.replaceAll(" ", "-")}.onnx`);
      const report = await run(`${base}.onnx`, output, options);
      const bytes = await readFile(output);
      const data = await readFile(`${output}.data`);
      expect(report.bytesAfter).toBe(bytes.length + data.length);

      // What lay outside lies outside, what is shared is there once, nothing overlaps, and all is aligned.
      const places = placesIn(bytes);
      const names = places.map(({ name }) => name);
      expect(names).toEqual(expect.arrayContaining(["b1", "b2"]));
      for (const { location, offset, length } of places) {
        expect(location).toBe(`${output.split("/").at(-1)}.data`);
        expect(offset % 16).toBe(0);
        expect(offset + length).toBeLessThanOrEqual(data.length);
      }
      const spans = [...new Map(places.map(({ offset, length }) => [offset, length])).entries()].sort(
        ([a], [c]) => a - c,
      );
      spans.forEach(([offset, length], i) => {
        expect(offset + length).toBeLessThanOrEqual(spans[i + 1]?.[0] ?? data.length);
      });
      const [b1, b2] = ["b1", "b2"].map((name) => places.find((place) => place.name === name)!);
      expect(b1!.offset).toBe(b2!.offset);
      expect(data.subarray(b1!.offset, b1!.offset + b1!.length)).toEqual(Buffer.from(bytesOf(b)));
      // Of a tensor that stays, what is unknown and what is written about it stay as well.
      expect(Buffer.from(b1!.message).includes(Buffer.from(unknownFields("b1")))).toBe(true);
      expect(Buffer.from(b1!.message).includes(Buffer.from("about b1"))).toBe(true);

      const alone = (await quantized(parted(inside, files), options)).bytes;
      const externalData = { [`${output.split("/").at(-1)}.data`]: Uint8Array.from(data) };
      for (const session of [plain, {}]) {
        const [want] = await Promise.all([outputsOf("node", alone, feeds, session)]);
        expect(distance(await outputsOf("node", output, feeds, session), want)).toBe(0);
        // The wasm build finds no other files for graphs within graphs.
        if (names.includes("K_then")) continue;
        const web = await outputsOf("web", output, feeds, { ...session, externalData });
        expect(distance(web, await outputsOf("web", alone, feeds, session))).toBe(0);
      }
    });
  });

  it("a model and its data file are replaced by what becomes of them", async () => {
    const files = ["same.onnx.data", "same.onnx.data"] as const;
    await writeParts(files);
    const path = join(folder, "in", "same.onnx");
    await writeFile(path, parted(outside, files));
    const want = (await quantized(parted(inside, files))).bytes;
    await run("same.onnx", path, {}, true);
    expect(distance(await outputsOf("node", path, feeds), await outputsOf("node", want, feeds))).toBe(0);
    expect((await readFile(`${path}.data`)).length).toBeLessThan(8192 + t.byteLength);
  });

  it("a Constant node's attribute keeps what is unknown when its data moves", async () => {
    await writeParts(["one.bin", "one.bin"]);
    const constant = outside("k", "float32", [24], b, {
      location: "one.bin",
      offset: String(64 + w.byteLength),
      length: String(b.byteLength),
    });
    const before = modelOf(old, {
      nodes: [
        node("Constant", "", "k", { value: attribute("value", { tensor: constant }, unknownFields("attribute")) }),
        node("Add", "x k", "y"),
      ],
      inputs: [value("x", "float32[2,24]")],
      outputs: [value("y", "float32")],
    });
    await writeFile(join(folder, "in", "constant.onnx"), before);
    const output = join(folder, "out", "constant.onnx");
    await run("constant.onnx", output);
    const after = await readFile(output);
    expect(after.includes(Buffer.from("constant.onnx.data"))).toBe(true);
    expect(after.includes(Buffer.from(unknownFields("k")))).toBe(true);
    expect(after.includes(Buffer.from(unknownFields("attribute")))).toBe(true);
  });

  /** A function whose constant lies in another file, and what is done with it. */
  function withFunction(op: string): Uint8Array {
    const entries = { location: "one.bin", offset: "64", length: String(w.byteLength) };
    const inFunction = node("Constant", "", "c", { value: { tensor: outside("c", "float32", [32, 24], w, entries) } });
    return model({
      ir: 8,
      opsets: { "": 13, local: 1 },
      functions: [
        functionOf({
          ...{ name: "put", domain: "local", inputs: ["a"], outputs: ["d"], opsets: { "": 13 } },
          nodes: [inFunction, node(op, "a c", "d")],
        }),
      ],
      graph: graph({
        nodes: [node("MatMul", "x W", "s"), node("put", op === "MatMul" ? "x" : "W", "t", {}, { domain: "local" })],
        initializers: [outside("W", "float32", [32, 24], w, entries)],
        inputs: [value("x", "float32[2,32]")],
        outputs: [value("s", "float32"), value("t", "float32")],
      }),
    });
  }

  it("a function's weight that lies in another file is found where the function is inlined", async () => {
    await writeParts(["one.bin", "one.bin"]);
    await writeFile(join(folder, "in", "function.onnx"), withFunction("MatMul"));
    const report = await run("function.onnx", join(folder, "out", "function.onnx"));
    expect(report.tensors.map(({ name, to }) => ({ name, to }))).toEqual([
      { name: "W", to: "int8" },
      { name: "put/c", to: "int8" },
    ]);
  });

  it("a function's tensor that lies in another file is refused where it stays: it could not be moved", async () => {
    await writeParts(["one.bin", "one.bin"]);
    await writeFile(join(folder, "in", "function.onnx"), withFunction("Add"));
    const output = join(folder, "out", "refused.onnx");
    await expect(run("function.onnx", output)).rejects.toThrow(/tensor "c": its data is in another file, which only/);
    await expect(readFile(output)).rejects.toThrow("ENOENT");
  });
});
