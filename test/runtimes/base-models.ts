import { encodeFloat16 } from "../../src/formats/half-arrays.ts";
import { graph, model, node, value } from "../helpers/onnx-build.ts";
import { elementBytes, tensor } from "../helpers/onnx-tensors.ts";
import { normalsOf } from "../helpers/random.ts";

// The float models of which outputs are made, beside those of the fixtures: together they have every kind of layer that the
// tool treats in a way of its own, each as small as shows it.

interface Parts {
  readonly nodes: readonly Uint8Array[];
  /** Initializers that are not weights. */
  readonly others?: readonly Uint8Array[];
  /** Shapes by name; values are normal, as large as makes the sums about 1. */
  readonly weights: Readonly<Record<string, readonly number[]>>;
  readonly inputs: readonly string[];
  readonly opset?: number;
  readonly domains?: Readonly<Record<string, number>>;
  /** The type of the weights. */
  readonly half?: boolean;
}

function build({ nodes, weights, inputs, others = [], opset = 17, domains = {}, half = false }: Parts): Uint8Array {
  const initializers = Object.entries(weights).map(([name, shape], seed) => {
    const values = weightValues(shape, seed);
    return half ? tensor(name, "float16", shape, encodeFloat16(values)) : tensor(name, "float32", shape, values);
  });
  return model({
    opsets: { "": opset, ...domains },
    graph: graph({
      nodes,
      initializers: [...initializers, ...others],
      inputs: inputs.map((each) => value(each.slice(0, each.indexOf(":")), each.slice(each.indexOf(":") + 1))),
      outputs: [value("y", "float32")],
    }),
  });
}

function weightValues(shape: readonly number[], seed: number): Float32Array {
  const count = shape.reduce((a, b) => a * b, 1);
  if (shape.length < 2) return normalsOf(seed, count, 0.1).map((x) => 1 + x);
  const summed = shape.length > 2 ? count / shape[0]! : Math.max(...shape);
  return normalsOf(seed, count, 1 / Math.sqrt(summed));
}

const ms = { domain: "com.microsoft" };
const numbers = (
  name: string,
  type: "int64" | "float32" | "float16",
  values: readonly number[],
  shape = [values.length],
) => tensor(name, type, shape, values);

/** MatMul, and Gemm with its weight transposed and a bias. */
function matrices(half = false): Uint8Array {
  const float = half ? "h" : "x";
  return build({
    nodes: [
      ...(half ? [node("Cast", "x", "h", { to: 10 })] : []),
      node("MatMul", `${float} first`, "a"),
      node("Tanh", "a", "b"),
      node("Gemm", "b second bias", half ? "c" : "y", { transB: 1 }),
      ...(half ? [node("Cast", "c", "y", { to: 1 })] : []),
    ],
    weights: { first: [64, 256], second: [64, 256], bias: [64] },
    inputs: ["x:float32[4,64]"],
    half,
  });
}

/** A plain convolution, one with a filter per channel, and a transposed one. */
function convolutions(): Uint8Array {
  return build({
    nodes: [
      node("Conv", "x plain bias", "a", { pads: [1, 1, 1, 1] }),
      node("Relu", "a", "b"),
      node("Conv", "b depthwise", "c", { group: 32, pads: [1, 1, 1, 1] }),
      node("ConvTranspose", "c up", "y", { strides: [2, 2] }),
    ],
    weights: { plain: [32, 16, 3, 3], bias: [32], depthwise: [32, 1, 3, 3], up: [32, 8, 2, 2] },
    inputs: ["x:float32[1,16,9,9]"],
  });
}

/** One convolution, nothing else. */
function convolution(): Uint8Array {
  return build({
    nodes: [node("Conv", "x w bias", "y", { pads: [1, 1, 1, 1] })],
    weights: { w: [64, 16, 3, 3], bias: [64] },
    inputs: ["x:float32[1,16,9,9]"],
  });
}

function recurrent(op: "LSTM" | "GRU"): Uint8Array {
  const gates = op === "LSTM" ? 4 : 3;
  return build({
    nodes: [node(op, "x w r", "y", { hidden_size: 32 })],
    weights: { w: [1, gates * 32, 64], r: [1, gates * 32, 32] },
    inputs: ["x:float32[5,1,64]"],
  });
}

/** Weights within the branches of an If. */
function branches(): Uint8Array {
  const branch = (weight: string, output: string) => ({
    graph: graph({
      name: weight,
      nodes: [node("MatMul", `x ${weight}`, output)],
      initializers: [tensor(weight, "float32", [64, 64], weightValues([64, 64], 5))],
      outputs: [value(output, "float32")],
    }),
  });
  return build({
    nodes: [
      node("ReduceSum", "x", "sum", { keepdims: 0 }),
      node("Less", "sum zero", "isLess"),
      node("If", "isLess", "y", { then_branch: branch("left", "a"), else_branch: branch("right", "b") }),
    ],
    weights: {},
    others: [numbers("zero", "float32", [0], [])],
    inputs: ["x:float32[2,64]"],
  });
}

/** A MatMul with a weight behind a Transpose, as of a linear layer that an exporter did not fold. */
function transposedWeight(): Uint8Array {
  return build({
    nodes: [node("Transpose", "w", "t", { perm: [1, 0] }), node("MatMul", "x t", "y")],
    weights: { w: [64, 64] },
    inputs: ["x:float32[2,64]"],
  });
}

/** A table from which rows are taken, and whose transpose is the last layer. */
function tiedTable(): Uint8Array {
  return build({
    nodes: [
      node("Gather", "table ids", "e"),
      node("Transpose", "table", "t", { perm: [1, 0] }),
      node("MatMul", "e t", "y"),
    ],
    weights: { table: [128, 64] },
    inputs: ["ids:int64[1,3]"],
  });
}

/** A table and a layer of its own. */
function lookup(): Uint8Array {
  return build({
    nodes: [node("Gather", "table ids", "e"), node("MatMul", "e w", "y")],
    weights: { table: [128, 64], w: [64, 32] },
    inputs: ["ids:int64[1,3]"],
  });
}

/** com.microsoft Attention, as ONNX Runtime's optimizer makes of a transformer's. */
function attention(): Uint8Array {
  return build({
    nodes: [node("Attention", "x w bias", "y", { num_heads: 4 }, ms)],
    weights: { w: [32, 96], bias: [96] },
    inputs: ["x:float32[1,6,32]"],
    domains: { "com.microsoft": 1 },
  });
}

/** The root mean square norm in single operators, twice, as Llama's exporters and (axes as an input) newer ones write it. */
function rmsNorm(opset: 17 | 18): Uint8Array {
  const layer = (i: number, x: string, y: string) => [
    node("Pow", `${x} two`, `square${i}`),
    opset < 18
      ? node("ReduceMean", `square${i}`, `mean${i}`, { axes: [-1] })
      : node("ReduceMean", `square${i} axes`, `mean${i}`),
    node("Add", `mean${i} epsilon`, `sum${i}`),
    node("Sqrt", `sum${i}`, `root${i}`),
    node("Div", `${x} root${i}`, `normed${i}`),
    node("Mul", `normed${i} g${i}`, `scaled${i}`),
    node("MatMul", `scaled${i} w${i}`, `m${i}`),
    node("Add", `${x} m${i}`, y),
  ];
  return build({
    nodes: [...layer(0, "x", "h"), ...layer(1, "h", "y")],
    weights: { g0: [64], w0: [64, 64], g1: [64], w1: [64, 64] },
    others: [
      numbers("two", "float32", [2], []),
      numbers("epsilon", "float32", [1e-5], []),
      ...(opset < 18 ? [] : [numbers("axes", "int64", [-1])]),
    ],
    inputs: ["x:float32[1,5,64]"],
    opset,
  });
}

/** The same with Mul for the square and a reciprocal root, the scale on the left, as T5 has it. */
function t5Norm(): Uint8Array {
  return build({
    nodes: [
      node("Pow", "x two", "square"),
      node("ReduceMean", "square", "mean", { axes: [-1] }),
      node("Add", "mean epsilon", "sum"),
      node("Sqrt", "sum", "root"),
      node("Div", "one root", "reciprocal"),
      node("Mul", "x reciprocal", "normed"),
      node("Mul", "g normed", "scaled"),
      node("MatMul", "scaled w", "y"),
    ],
    weights: { g: [64], w: [64, 64] },
    others: [
      numbers("one", "float32", [1], []),
      numbers("two", "float32", [2], []),
      numbers("epsilon", "float32", [1e-6], []),
    ],
    inputs: ["x:float32[1,5,64]"],
  });
}

/** Layer normalization in single operators, as BERT's exporters up to opset 16 write it. */
function layerNorm(): Uint8Array {
  return build({
    nodes: [...normOf("x", "n", "g", "b"), node("MatMul", "n w", "y")],
    weights: { g: [64], b: [64], w: [64, 64] },
    others: normConstants,
    inputs: ["x:float32[1,5,64]"],
    opset: 14,
  });
}

const normConstants = [numbers("two", "float32", [2], []), numbers("epsilon", "float32", [1e-12], [])];

function normOf(x: string, y: string, scale: string, bias: string): Uint8Array[] {
  return [
    node("ReduceMean", x, `${y}_mean`, { axes: [-1] }),
    node("Sub", `${x} ${y}_mean`, `${y}_centred`),
    node("Pow", `${y}_centred two`, `${y}_square`),
    node("ReduceMean", `${y}_square`, `${y}_variance`, { axes: [-1] }),
    node("Add", `${y}_variance epsilon`, `${y}_sum`),
    node("Sqrt", `${y}_sum`, `${y}_root`),
    node("Div", `${y}_centred ${y}_root`, `${y}_normed`),
    node("Mul", `${y}_normed ${scale}`, `${y}_scaled`),
    node("Add", `${y}_scaled ${bias}`, y),
  ];
}

const HIDDEN = 32;
const HEADS = 2;

/** A layer of BERT as exporters write it, with a mask of lowest floats: what transformers.js loads as a feature extractor. */
export function bert(): Uint8Array {
  const heads = [0, 0, HEADS, HIDDEN / HEADS];
  const projected = (name: string, perm: number[]) => [
    node("MatMul", `embedded ${name}_w`, `${name}_m`),
    node("Add", `${name}_b ${name}_m`, `${name}_s`),
    node("Reshape", `${name}_s heads`, `${name}_r`),
    node("Transpose", `${name}_r`, name, { perm }),
  ];
  return model({
    opsets: { "": 14 },
    graph: graph({
      nodes: [
        node("Gather", "words input_ids", "word"),
        node("Gather", "types token_type_ids", "type"),
        node("Add", "word type", "summed"),
        ...normOf("summed", "embedded", "g0", "b0"),
        node("Unsqueeze", "attention_mask mask_axes", "wide"),
        node("Cast", "wide", "mask", { to: 1 }),
        node("Sub", "one mask", "masked"),
        node("Mul", "masked lowest", "bias"),
        ...projected("q", [0, 2, 1, 3]),
        ...projected("k", [0, 2, 3, 1]),
        ...projected("v", [0, 2, 1, 3]),
        node("MatMul", "q k", "products"),
        node("Div", "products root", "scores"),
        node("Add", "scores bias", "biased"),
        node("Softmax", "biased", "shares", { axis: -1 }),
        node("MatMul", "shares v", "heads_out"),
        node("Transpose", "heads_out", "rows", { perm: [0, 2, 1, 3] }),
        node("Reshape", "rows hidden", "context"),
        node("MatMul", "context o_w", "o"),
        node("Add", "o embedded", "residual"),
        ...normOf("residual", "normed", "g1", "b1"),
        node("MatMul", "normed up", "wider"),
        ...["Div wider sqrt2 a", "Erf a e", "Add e one f", "Mul wider f g", "Mul g half gelu"].map((line) => {
          const [op = "", ...names] = line.split(" ");
          return node(op, names.slice(0, -1).join(" "), names.at(-1)!);
        }),
        node("MatMul", "gelu down", "narrow"),
        node("Add", "narrow normed", "last"),
        ...normOf("last", "last_hidden_state", "g2", "b2"),
      ],
      initializers: [
        ...Object.entries({
          ...{ words: [64, HIDDEN], types: [2, HIDDEN], up: [HIDDEN, 64], down: [64, HIDDEN], o_w: [HIDDEN, HIDDEN] },
          ...{ q_w: [HIDDEN, HIDDEN], k_w: [HIDDEN, HIDDEN], v_w: [HIDDEN, HIDDEN] },
          ...Object.fromEntries(
            ["g0", "b0", "g1", "b1", "g2", "b2", "q_b", "k_b", "v_b"].map((name) => [name, [HIDDEN]]),
          ),
        }).map(([name, shape], seed) => tensor(name, "float32", shape, weightValues(shape, seed))),
        ...normConstants,
        ...Object.entries({ one: 1, half: 0.5, sqrt2: Math.SQRT2, root: 4, lowest: -3.4028234663852886e38 }).map(
          ([name, x]) => numbers(name, "float32", [x], []),
        ),
        numbers("heads", "int64", heads),
        numbers("hidden", "int64", [0, 0, HIDDEN]),
        numbers("mask_axes", "int64", [1, 2]),
      ],
      inputs: ["input_ids", "attention_mask", "token_type_ids"].map((name) => value(name, "int64[batch,sequence]")),
      outputs: [value("last_hidden_state", `float32[batch,sequence,${HIDDEN}]`)],
    }),
  });
}

/** A MatMul whose weight lies in a file of this name beside it. */
export function weightsBeside(location: string): { readonly bytes: Uint8Array; readonly data: Uint8Array } {
  const data = elementBytes("float32", weightValues([64, 64], 3));
  const store = { kind: "external", entries: { location, offset: "0", length: String(data.length) } } as const;
  const bytes = build({
    nodes: [node("MatMul", "x w", "y")],
    weights: {},
    others: [tensor("w", "float32", [64, 64], [], { store })],
    inputs: ["x:float32[2,64]"],
  });
  return { bytes, data };
}

/** Beside the fixtures. */
export const builtModels = {
  matrices: () => matrices(),
  "half weights": () => matrices(true),
  convolution,
  convolutions,
  lstm: () => recurrent("LSTM"),
  gru: () => recurrent("GRU"),
  branches,
  lookup,
  "transposed weight": transposedWeight,
  "tied table": tiedTable,
  attention,
  "rms norm": () => rmsNorm(17),
  "rms norm, opset 18": () => rmsNorm(18),
  "t5 norm": t5Norm,
  "layer norm": layerNorm,
  bert,
} as const satisfies Readonly<Record<string, () => Uint8Array>>;
