import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { createEngine, type Engine } from "../../src/engine/engine.ts";
import { bytesOf } from "../../src/engine/tensors/tensor.ts";
import { isWasmQuantError } from "../../src/errors.ts";
import { type ByteSource, bytesSource } from "../../src/formats/byte-source.ts";
import { type QuantizeModelOptions, quantizeModel } from "../../src/model.ts";
import { type Attempt, expectRefusal, modelOf, spySink, w } from "../helpers/bad-models.ts";
import { graph, model, node, value } from "../helpers/onnx-build.ts";
import { type Storage, tensor } from "../helpers/onnx-tensors.ts";
import { normals, randomOf } from "../helpers/random.ts";
import { concat, field, integer, unknownFields } from "../helpers/wire-fields.ts";

// Whatever a file holds: an error of one line that names it, and nothing written; or a model, and all of it.

let engine: Engine;

beforeAll(async () => {
  engine = await createEngine();
});

async function attempt(source: Uint8Array | ByteSource, options: QuantizeModelOptions = {}): Promise<Attempt> {
  const { sink, told } = spySink();
  const from = source instanceof Uint8Array ? bytesSource(source, "model.onnx") : source;
  const error = await quantizeModel(engine, from, sink, { allowUnchanged: true, ...options }).then(
    () => undefined,
    (cause: unknown) => cause ?? "nothing was thrown, and it failed",
  );
  return { error, told };
}

/** About 2 KB with something of everything. */
function sampleModel(): Uint8Array {
  const body = (name: string, weight: Uint8Array) =>
    graph({
      name,
      nodes: [node("MatMul", `x ${name}_w`, `${name}_y`)],
      initializers: [weight],
      outputs: [value(`${name}_y`, "float32")],
    });
  const eight = (name: string, seed: number, store: Storage["kind"] = "raw") =>
    tensor(name, "float32", [8, 12], normals(randomOf(seed), 96), { store });
  return model({
    opsets: { "": 13, "com.example": 1 },
    metadata: { key: "value" },
    graph: graph({
      nodes: [
        node("Gather", "T i", "g", { axis: 0 }),
        node("Reshape", "V s", "v"),
        node("MatMul", "x v", "m"),
        node("Constant", "", "c", { value: { tensor: tensor("", "float32", [12], normals(randomOf(4), 12)) } }),
        node("Add", "m c", "a"),
        node("If", "flag", "u", {
          then_branch: { graph: body("t", eight("t_w", 5, "packed")) },
          else_branch: { graph: body("e", eight("e_w", 6)) },
        }),
        node("Sum", "a u", "y"),
        node("Odd", "y", "z", { f: { float: 1 }, l: [1, 2], s: "text" }, { domain: "com.example" }),
      ],
      initializers: [
        tensor("T", "float32", [16, 8], normals(randomOf(1), 128)),
        tensor(
          "V",
          "float16",
          [2, 4, 12],
          Uint16Array.from({ length: 96 }, (_, i) => 0x3000 + i),
          { store: "packed" },
        ),
        tensor("s", "int64", [2], [8, 12]),
      ],
      inputs: [value("x", "float32[n,8]"), value("i", "int64[k]"), value("flag", "bool[]")],
      outputs: [value("y", "float32[n,12]"), value("g", "float32"), value("z", "float32")],
      values: [value("m", "float32[n,12]")],
      extra: unknownFields("graph"),
    }),
  });
}

/** Errors of ours in one line, or success; nothing else, and soon. */
function expectTame({ error, told }: Attempt, what: () => string): void {
  if (error === undefined) {
    if (!told.closed) throw new Error(`${what()}: neither an error nor a file`);
    return;
  }
  const { message, stack } = error as Error;
  const ours = isWasmQuantError(error, "format") || isWasmQuantError(error, "argument");
  if (!ours) throw new Error(`${what()}: ${stack}`);
  // Types of nodes are said as they stand, line's ends and all (above: "a type with a line's end in it").
  const line = message.replace(/: .*? node "/s, ': node "');
  if (/[\n\r]/.test(line)) throw new Error(`${what()}: more than one line: ${JSON.stringify(message)}`);
  if (told.closed || !told.aborted) throw new Error(`${what()}: the sink was not given up`);
}

describe("damage", () => {
  const sample = sampleModel();
  const optionsAt = (i: number): QuantizeModelOptions =>
    [
      {},
      { dtype: "uint8", blockSize: 4 },
      { format: "qdq" },
      { opset: 21, format: "qdq", dtype: "int4", blockSize: 8 },
    ][i % 4] as QuantizeModelOptions;

  it("none: the sample is quantized in all forms", async () => {
    expect(sample.length).toBeGreaterThan(2000);
    for (let i = 0; i < 4; i++) expect((await attempt(sample, optionsAt(i))).error).toBeUndefined();
  });

  it("cut off at any byte", async () => {
    for (let length = 0; length < sample.length; length++) {
      const tried = await attempt(sample.slice(0, length), optionsAt(length));
      expectTame(tried, () => `cut at ${length}`);
    }
  }, 60_000);

  it("a file that shrinks while it is read", async () => {
    for (let length = 0; length < sample.length; length += 7) {
      const source = bytesSource(sample, "model.onnx");
      const slice = (start: number, end: number) => source.slice(Math.min(start, length), Math.min(end, length));
      const tried = await attempt({ ...source, slice });
      expectRefusal(tried, /./);
    }
  });

  // Of the values of tensors, which are more than half of the sample and which nothing but values depends on, every ninth
  // byte: each of a float's four bytes comes up in turn. All the others are changed, one by one.
  const isTried = Array.from(sample, () => true);
  for (const [seed, size] of [
    [1, 128],
    [5, 96],
    [6, 96],
  ] as const) {
    const stored = bytesOf(normals(randomOf(seed), size));
    const start = Buffer.from(sample).indexOf(stored);
    if (start < 0) throw new Error("the sample does not hold these values");
    for (let i = 0; i < stored.length; i++) isTried[start + i] = i % 9 === 0;
  }

  it.each([0x01, 0x80, 0xff])(
    "a byte changed by %i, any of them",
    async (mask) => {
      for (let at = 0; at < sample.length; at++) {
        if (!isTried[at]) continue;
        const bytes = sample.slice();
        bytes[at]! ^= mask;
        const start = performance.now();
        expectTame(await attempt(bytes, optionsAt(at)), () => `byte ${at} changed by ${mask}`);
        const took = performance.now() - start;
        if (took >= 2000) throw new Error(`byte ${at} changed by ${mask}: took ${took} ms`);
      }
    },
    120_000,
  );

  it("bytes put in, taken out and changed", async () => {
    const edit = fc.tuple(fc.nat(sample.length - 1), fc.nat(8), fc.uint8Array({ maxLength: 8 }));
    await fc.assert(
      fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 4 }), fc.nat(3), async (edits, form) => {
        const bytes = edits.reduce(
          (all, [at, gone, put]) => concat([all.slice(0, at), put, all.slice(at + gone)]),
          sample,
        );
        expectTame(await attempt(bytes, optionsAt(form)), () => "edited");
      }),
      { seed: 1, numRuns: 1500 },
    );
  }, 120_000);

  it("any bytes at all", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) => {
        expectTame(await attempt(concat([integer(1, 8), bytes])), () => "random");
        expectTame(await attempt(concat([integer(1, 8), field(7, bytes)])), () => "random in a graph");
      }),
      { seed: 2, numRuns: 1500 },
    );
  }, 120_000);

  it("graphs of nodes that make no sense", async () => {
    const names = ["W", "V", "x", "a", "b", "c", "s", ""];
    const ops = ["MatMul", "Gemm", "Gather", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Cast", "Conv"];
    const name = fc.constantFrom(...names);
    const each = fc.record({
      op: fc.constantFrom(...ops, "LSTM", "Einsum", "ConvTranspose", "Add"),
      inputs: fc.array(name, { maxLength: 3 }),
      axis: fc.integer({ min: -4, max: 4 }),
      flag: fc.nat(1),
    });
    const shape = fc.array(fc.integer({ min: 0, max: 12 }), { maxLength: 4 });
    const integersOf = fc.array(fc.integer({ min: -2, max: 12 }), { maxLength: 4 });
    const parts = fc.record({ nodes: fc.array(each, { maxLength: 6 }), v: shape, s: integersOf, form: fc.nat(3) });
    await fc.assert(
      fc.asyncProperty(parts, async ({ nodes, v, s, form }) => {
        const size = v.reduce((a, b) => a * b, 1);
        // Outputs are new names in order, so that there are no circles; perm is as long as it has to be, and in range.
        const made = nodes.map(({ op, inputs, axis, flag }, i) => {
          const known = [...inputs.filter((input) => names.indexOf(input) < 3), i > 0 ? `o${i - 1}` : "W"];
          const attributes = op === "Flatten" || op === "Gather" ? { axis } : op === "Gemm" ? { transB: flag } : {};
          const second = ["Reshape", "Squeeze", "Unsqueeze", "Gather"].includes(op) ? "s" : known.at(-2);
          return node(op, op === "Transpose" ? known[0]! : `${known[0]} ${second ?? ""}`.trim(), `o${i}`, attributes);
        });
        const bytes = modelOf({
          nodes: [...made, node("MatMul", "x W", "y")],
          initializers: [
            w,
            tensor("V", "float32", v, new Float32Array(size).fill(0.5)),
            tensor("s", "int64", [s.length], s),
          ],
        });
        expectTame(await attempt(bytes, optionsAt(form)), () => "senseless");
      }),
      // Each takes several times as long as those above; there are 14 operators, so that each comes up some 200 times.
      { seed: 3, numRuns: 900 },
    );
  }, 120_000);
});
