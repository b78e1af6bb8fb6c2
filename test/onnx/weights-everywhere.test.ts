import { beforeAll, describe, expect, it } from "vitest";
import { codeTypes } from "../../src/dtypes.ts";
import { createEngine, type Engine } from "../../src/engine/engine.ts";
import type { Axis } from "../../src/engine/tensors/granularity.ts";
import type { QuantizeOptions } from "../../src/engine/tensors/quantize-options.ts";
import { bytesOf, type FloatTensor } from "../../src/engine/tensors/tensor.ts";
import { bytesSink, bytesSource } from "../../src/formats/byte-source.ts";
import { type QuantizeModelOptions, quantizeModel } from "../../src/model.ts";
import { inGraphs } from "../helpers/graph-fixtures.ts";
import { node, value } from "../helpers/onnx-build.ts";
import { graphIn, graphsIn, readGraph } from "../helpers/onnx-read.ts";
import { elementBytes, tensor } from "../helpers/onnx-tensors.ts";
import { ops } from "../helpers/operator-fixtures.ts";
import { normalsOf } from "../helpers/random.ts";
import { halvesOf } from "../helpers/sessions.ts";
import { lookup, tables } from "../helpers/table-fixtures.ts";
import { views } from "../helpers/view-fixtures.ts";
import {
  blockSize,
  branch,
  distance,
  type Fixture,
  type FormName,
  list,
  type Opset,
  old,
  outputsOf,
  plain,
  runtimeNames,
  table,
  volume,
  type Weight,
} from "../helpers/weight-fixtures.ts";

// Models of a few nodes, in each form: the codes are those that the engine gives along the axis that suits the node, and
// what the model gives is what it gave with the values that these codes stand for, in both of ONNX Runtime's builds.

let engine: Engine;

beforeAll(async () => {
  engine = await createEngine();
});

interface Form extends Opset {
  readonly options: QuantizeModelOptions;
  readonly how: (weight: Weight) => QuantizeOptions;
}

const new21 = { opset: 21, ir: 10 };

function blocksOf({ block, channel, short }: Weight): QuantizeOptions {
  return short || block === undefined ? { axis: channel } : { axis: block, blockSize };
}

const forms = {
  "cast int8": {
    ...old,
    options: { format: "cast" },
    how: ({ channel }) => ({ dtype: "int8", axis: channel }),
  },
  "cast uint8": {
    ...old,
    options: { format: "cast", dtype: "uint8" },
    how: ({ channel }) => ({ dtype: "uint8", scheme: "asymmetric", axis: channel }),
  },
  "cast int16": {
    ...old,
    options: { format: "cast", dtype: "int16" },
    how: ({ channel }) => ({ dtype: "int16", axis: channel }),
  },
  "cast in blocks": {
    ...old,
    options: { format: "cast", dtype: "uint8", blockSize },
    how: (weight) => ({
      dtype: "uint8",
      scheme: "asymmetric",
      ...(weight.oneRow ? { axis: weight.channel } : blocksOf(weight)),
    }),
  },
  "qdq per tensor": {
    ...old,
    options: { format: "qdq", perChannel: false },
    how: () => ({ dtype: "int8" }),
  },
  "qdq per channel": {
    ...old,
    options: { format: "qdq", dtype: "uint8" },
    how: ({ channel, single = lastOf(channel) }) => ({ dtype: "uint8", scheme: "asymmetric", axis: single }),
  },
  "qdq int4 in blocks": {
    ...new21,
    options: { format: "qdq", dtype: "int4", blockSize },
    how: (weight) => ({ dtype: "int4", ...blocksOf(weight) }),
  },
} satisfies Record<string, Form>;

const formNames = Object.keys(forms) as FormName[];

function lastOf(axis: Axis | undefined): number | undefined {
  return typeof axis === "object" ? axis[1] : axis;
}

/** Values as a file holds them: half floats as their bits. */
function floatTensor({ shape, type = "float32", size = 0.5 }: Weight, seed: number): FloatTensor {
  const data = normalsOf(seed, volume(shape), size);
  if (type === "float32") return { shape, data };
  if (type === "float16") return { shape, dtype: type, data: halvesOf(data) };
  return { shape, dtype: type, data: Uint16Array.from(new Uint32Array(data.buffer), (bits) => bits >>> 16) };
}

interface Made {
  readonly before: Uint8Array;
  readonly after: Uint8Array;
  /** The model with the values that the codes stand for. */
  readonly restored: Uint8Array;
}

/** Quantizes, and holds codes and scales against the engine's. */
async function make({ weights, build }: Fixture, name: FormName): Promise<Made> {
  const form: Form = forms[name];
  const originals = new Map(Object.entries(weights).map(([key, weight], i) => [key, floatTensor(weight, i + 1)]));
  const write = (values: ReadonlyMap<string, FloatTensor>) =>
    build(
      (key, as = key, rest = {}) => {
        const { shape, dtype = "float32", data } = values.get(key)!;
        return tensor(as, dtype, shape, elementBytes(dtype, data as Float32Array), rest);
      },
      { opset: form.opset, ir: form.ir },
    );
  const before = write(originals);
  const sink = bytesSink();
  const report = await quantizeModel(engine, bytesSource(before, "model.onnx"), sink, {
    allowUnchanged: true,
    ...form.options,
  });
  const after = sink.result();

  const written = new Map(graphsIn(after).flatMap(({ initializers }) => initializers.map((each) => [each.name, each])));
  // Names of ours that are taken have a number behind.
  const named = (base: string) => written.get(`${base}_2`) ?? written.get(`${base}_1`) ?? written.get(base);
  const restored = new Map(originals);
  for (const [key, weight] of Object.entries(weights)) {
    const original = originals.get(key)!;
    const told = report.tensors.find((each) => each.name === key);
    if (weight.stays?.includes(name)) {
      expect(told, key).toMatchObject({ to: weight.type ?? "float32", reason: "would not get smaller" });
      continue;
    }
    const q = engine.quantize(original, form.how(weight));
    expect(told, key).toMatchObject({ to: q.dtype, from: weight.type ?? "float32" });
    expect(named(`${key}_scale`)?.raw, `scales of ${key}: ${named(`${key}_scale`)?.shape}`).toEqual(bytesOf(q.scale));
    expect(named(`${key}_quantized`)?.raw, `codes of ${key}`).toEqual(bytesOf(q.data));
    const zeroPoint = named(`${key}_zero_point`);
    // Signed codes have zeros, where any are said (weight-only/zero-points.test.ts).
    if (codeTypes[q.dtype].signed) for (const byte of zeroPoint?.raw ?? []) expect(byte).toBe(0);
    else expect(zeroPoint?.raw, `zero points of ${key}`).toEqual(bytesOf(Uint8Array.from(q.zeroPoint)));
    const dtype = weight.type ?? "float32";
    restored.set(key, { shape: weight.shape, dtype, data: engine.dequantize(q, { dtype }).data } as FloatTensor);
  }
  return { before, after, restored: write(restored) };
}

const families = { "in graphs within graphs": inGraphs, "behind views": views, tables, ops };

describe.each(Object.entries(families))("weights: %s", (_, fixtures) => {
  describe.each(Object.entries(fixtures))("%s", (_, fixture) => {
    for (const form of formNames) {
      it(form, async () => {
        const { after, restored } = await make(fixture, form);
        const near = fixture.near ?? 0;
        for (const runtime of runtimeNames) {
          const want = await outputsOf(runtime, restored, fixture.feeds, plain);
          expect(distance(await outputsOf(runtime, after, fixture.feeds, plain), want), runtime).toBeLessThanOrEqual(
            near,
          );
          expect(distance(await outputsOf(runtime, after, fixture.feeds), want), runtime).toBeLessThan(near || 1e-4);
        }
      });
    }
  });
});

describe("a Gather takes codes, and what it took is restored", () => {
  const first = [
    "cast int8",
    "cast uint8",
    "cast int16",
    "cast in blocks",
    "qdq per tensor",
    "qdq per channel",
  ] as const;

  it.each(first)("%s", async (form) => {
    const { after } = await make(tables["a grid of rows"]!, form);
    const { nodes } = readGraph(graphIn(after));
    expect(nodes.find(({ name }) => name === "Gather_of_y0")?.inputs).toEqual(["T_quantized", "i0"]);
    expect(nodes.flatMap(({ outputs }) => outputs)).not.toContain("T");
  });

  it.each(first)("%s, and the whole for who wants the whole", async (form) => {
    const { after } = await make(tables["tied to a MatMul through Transpose"]!, form);
    const { nodes } = readGraph(graphIn(after));
    expect(nodes.find(({ name }) => name === "Gather_of_y0")?.inputs).toEqual(["T_quantized", "i0"]);
    expect(nodes.flatMap(({ outputs }) => outputs)).toContain("T");
  });

  it("but for 4-bit codes, which Gather does not take", async () => {
    const { after } = await make(tables["a grid of rows"]!, "qdq int4 in blocks");
    const { nodes } = readGraph(graphIn(after));
    expect(nodes.find(({ name }) => name === "Gather_of_y0")?.inputs).toEqual(["T", "i0"]);
  });

  it.each([
    ["a Transpose of it", node("Transpose", "T", "z", { perm: [1, 0] })],
    ["an Identity of it", node("Identity", "T", "z")],
    [
      "an Identity of it in both branches of If",
      node("If", "c", "z", {
        then_branch: { graph: branch("then", { nodes: [node("Identity", "T", "then_y")] }) },
        else_branch: { graph: branch("else", { nodes: [node("Identity", "T", "else_y")] }) },
      }),
    ],
  ])("where %s is given out beside", async (_, beside) => {
    const fixture = lookup(table, 0, [list], {
      nodes: [beside, node("Relu", "x", "r")],
      outputs: [value("z", "float32"), value("r", "float32")],
      constants: [tensor("c", "bool", [], [1])],
    });
    const { after, restored } = await make(fixture, "cast int8");
    const want = await outputsOf("node", restored, fixture.feeds, plain);
    expect(distance(await outputsOf("node", after, fixture.feeds, plain), want)).toBe(0);
  });
});
