import type { CodeDType } from "../../src/dtypes.ts";
import type { QuantizeModelOptions } from "../../src/index.ts";
import { type TransformersJsVariant, transformersJsVariants } from "../../src/onnx/transformers-js.ts";
import type { builtModels } from "./base-models.ts";

// The rows of the matrix: every kind of output, and of which models it is made.

/** A model that the matrix is made of. */
export type BaseModel = keyof typeof builtModels | "weights beside" | (typeof fixtures)[number];

export const fixtures = ["tiny_transformer", "tiny_residual", "digits"] as const;

/** How an output is made: with options, or as one of the files of transformers.js. */
export type Way = QuantizeModelOptions | { readonly variant: TransformersJsVariant };

/** A kind of output. */
export interface Row {
  readonly group: string;
  readonly name: string;
  /** Ways to make it. All have to run. */
  readonly ways: readonly Way[];
  /** Of these models, as far as there is something to quantize in them; of the common ones if not said. */
  readonly models?: readonly BaseModel[];
  /** The least that its outputs keep of the float model's, as SQNR in dB. */
  readonly floor: number;
  /** What the model becomes first. */
  readonly from?: QuantizeModelOptions;
}

/** What rows are made of that do not name their models. */
export const commonModels: readonly BaseModel[] = [
  ...(["matrices", "convolutions", "lstm", "gru", "branches", "attention"] as const),
  ...(["bert", "tiny_transformer", "tiny_residual", "digits"] as const),
];

const transposed = ["transposed weight", "tied table"] as const;
const schemes = ["symmetric", "asymmetric"] as const;
const each = [{}, { perChannel: false }] as const;

/** 6 dB a bit; per channel, per tensor and in blocks alike. */
const floors: Readonly<Record<CodeDType, number>> = { int16: 60, uint16: 60, int8: 25, uint8: 25, int4: 6, uint4: 6 };
const dtypes: readonly CodeDType[] = ["int8", "uint8", "int16", "uint16", "int4", "uint4"];
const isWide = (dtype: CodeDType) => floors[dtype] > floors.int4;

function casts(): Row[] {
  const group = "Weights restored by Cast and Mul";
  return dtypes.filter(isWide).map((dtype) => ({
    ...{ group, name: `\`cast\` ${dtype}`, floor: floors[dtype], models: [...commonModels, "lookup", ...transposed] },
    ways: schemes.flatMap((scheme) =>
      [...each, { blockSize: 32 }].map((way) => ({ format: "cast", dtype, scheme, ...way }) as const),
    ),
  }));
}

function qdqs(): Row[] {
  const group = "Weights restored by DequantizeLinear";
  return dtypes.flatMap((dtype): Row[] => {
    const shared = { group, floor: floors[dtype] };
    const inBlocks = schemes.map((scheme) => ({ format: "qdq", dtype, scheme, blockSize: 32 }) as const);
    const ways = schemes.flatMap((scheme) => each.map((way) => ({ format: "qdq", dtype, scheme, ...way }) as const));
    return [
      { ...shared, name: `\`qdq\` ${dtype}`, ways },
      { ...shared, name: `\`qdq\` ${dtype}, weights behind a Transpose`, ways, models: transposed },
      { ...shared, name: `\`qdq\` ${dtype}, blocks of 32`, ways: inBlocks, models: [...commonModels, ...transposed] },
      ...(isWide(dtype) ? [{ ...shared, name: `\`qdq\` ${dtype}, a table`, ways, models: ["lookup"] } as const] : []),
      { ...shared, name: `\`qdq\` ${dtype}, a table, blocks of 32`, ways: inBlocks, models: ["lookup"] },
    ];
  });
}

function matrices(bits: 2 | 4 | 8): Row[] {
  const group = "Matrices in blocks";
  const floor = { 2: 0, 4: 8, 8: 25 }[bits];
  const base = { format: "nbits", bits } as const;
  const plain = ([32, 16, 64, 128, 256] as const).map((blockSize) => ({ ...base, blockSize }));
  const withZeros = (["rtn", "mse", "hqq"] as const).map(
    (algorithm) => ({ ...base, scheme: "asymmetric", algorithm }) as const,
  );
  const models: BaseModel[] = [...commonModels.filter((name) => hasMatrices(name)), ...transposed];
  return [
    { group, name: `${bits} bits`, floor, models, ways: [...plain, ...withZeros] },
    {
      group,
      name: `${bits} bits, weights in float16`,
      floor,
      models: ["half weights"],
      ways: [...plain, ...withZeros],
    },
    {
      ...{ group, name: `${bits} bits, tables: GatherBlockQuantized`, floor, models: ["lookup", "tied table"] },
      ways: schemes.map((scheme) => ({ ...base, scheme, opTypes: ["MatMul", "Gemm", "Gather"] })),
    },
  ];
}

function hasMatrices(name: BaseModel): boolean {
  return !["convolution", "convolutions", "lstm", "gru", "attention"].includes(name);
}

function levels(): Row[] {
  const group = "Matrices in blocks";
  return ([4, 8] as const).flatMap((bits): Row[] => {
    const shared = { group, floor: bits === 4 ? 8 : 25, ways: [{ format: "nbits", bits, accuracyLevel: 4 }] as const };
    const name = `${bits} bits, \`--accuracy-level 4\``;
    return [
      { ...shared, name, models: ["matrices", "bert", "tiny_transformer"] },
      { ...shared, name: `${name}, weights in float16`, models: ["half weights"] },
    ];
  });
}

/** Of what saturates on processors without VNNI. */
const SATURATED = 12;

function integerLayers(dtype: "int8" | "uint8"): Row[] {
  const shared = { group: "Integer layers", floor: SATURATED };
  const ways = [...each, { reduceRange: true }].map((way) => ({ mode: "dynamic", dtype, ...way }) as const);
  const models = ["convolution", "convolutions", "tiny_residual"] as const;
  return [
    { ...shared, name: `\`dynamic\` ${dtype}`, ways, models: [...commonModels, "lookup", ...transposed] },
    {
      ...{ ...shared, name: `\`dynamic\` ${dtype}, Conv as ConvInteger`, models },
      ways: ways.map((way) => ({ ...way, opTypes: ["Conv"] })),
    },
    {
      ...{
        ...shared,
        name: `\`dynamic\` ${dtype}, \`--like onnxruntime\`, layers`,
        models: ["matrices", "lstm", "attention"],
      },
      ways: [{ mode: "dynamic", dtype, like: "onnxruntime" }],
    },
    {
      ...{ ...shared, name: `\`dynamic\` ${dtype}, \`--like onnxruntime\`, convolutions`, models },
      ways: [{ mode: "dynamic", dtype, like: "onnxruntime" }],
    },
  ];
}

/** Norms in single operators. */
export const norms = ["rms norm", "rms norm, opset 18", "t5 norm", "layer norm", "bert"] as const;

function halves(): Row[] {
  const shared = { group: "Half precision", floor: 40 };
  const others: BaseModel[] = [...commonModels, "lookup", ...transposed];
  const plain = others.filter((name) => !norms.some((norm) => norm === name));
  const io = (["float32", "float16"] as const).map((io) => ({ dtype: "float16", io }) as const);
  return [
    { ...shared, name: "float16", models: plain, ways: io },
    { ...shared, name: "float16 of a written-out RMS norm", models: ["rms norm", "rms norm, opset 18"], ways: io },
    { ...shared, name: "float16 of a written-out norm, a reciprocal root", models: ["t5 norm"], ways: io },
    { ...shared, name: "float16 of a written-out layer norm", models: ["layer norm"], ways: io },
    { ...shared, name: "float16 of a layer of BERT, written out", models: ["bert"], ways: io },
    ...(["cast", "qdq"] as const).map(
      (format): Row => ({
        ...{ ...shared, floor: floors.int8, name: `float16 of what is int8 already (\`${format}\`)`, from: { format } },
        ...{ models: ["matrices", "convolutions"], ways: io },
      }),
    ),
    {
      ...{ ...shared, floor: SATURATED, name: "float16 of integer layers", from: { mode: "dynamic" } },
      ...{ models: ["matrices", "lookup", "tiny_transformer"], ways: io },
    },
    ...(["float32", "bfloat16"] as const).map((io) => ({
      ...{ ...shared, floor: floors.int8, name: `bfloat16, inputs and outputs ${io}` },
      ways: [{ dtype: "bfloat16", io }] as const,
    })),
  ];
}

const recipeFloors: Readonly<Record<TransformersJsVariant, number>> = {
  ...{ fp16: 40, q8: SATURATED, int8: SATURATED, uint8: SATURATED, q4: 8, q4f16: 8, bnb4: 8 },
};

function recipe(): Row[] {
  const group = "The files of transformers.js";
  return transformersJsVariants.flatMap((variant): Row[] => {
    const shared = { group, floor: recipeFloors[variant], ways: [{ variant }] };
    const isHalf = variant === "fp16" || variant === "q4f16";
    const written = { ...shared, name: `${variant} of a written-out RMS norm`, models: ["rms norm"] as const };
    return [
      { ...shared, name: variant, models: ["tiny_transformer"] },
      { ...shared, name: `${variant} of a layer of BERT, written out`, models: ["bert"] },
      ...(isHalf ? [written] : []),
    ];
  });
}

function others(): Row[] {
  const shared = { group: "Other choices", floor: 8 };
  return [
    ...(["node", "web-wasm"] as const).map((target) => ({
      ...{ ...shared, name: `\`--target ${target}\`` },
      ways: [{ target }, { target, dtype: "int4" }, { target, mode: "dynamic" }] as const,
    })),
    {
      ...shared,
      name: "`--target webgpu`, on the CPU",
      ways: [{ target: "webgpu" }, { target: "webgpu", dtype: "int4" }],
    },
    {
      ...{ ...shared, floor: SATURATED, name: "weights in a file beside the model", models: ["weights beside"] },
      ways: [{}, { format: "qdq" }, { mode: "dynamic" }],
    },
    {
      ...{ ...shared, name: "of weights in float16", models: ["half weights"] },
      ways: [{}, { format: "qdq" }, { mode: "dynamic" }],
    },
    ...[17, 21, 22, 23, 24, 25, 26].map((opset) => ({
      ...{ ...shared, floor: floors.int8, name: `\`--opset ${opset}\``, ways: [{ opset }] },
      models: ["matrices", "convolutions", "lstm", "tiny_residual"] as const,
    })),
  ];
}

export const rows: readonly Row[] = [
  ...casts(),
  ...qdqs(),
  ...([4, 8, 2] as const).flatMap(matrices),
  ...levels(),
  {
    ...{ group: "Matrices in blocks", name: "4 bits, `--like onnxruntime`", floor: 8, models: ["matrices", "bert"] },
    ways: [{ dtype: "int4", like: "onnxruntime" }],
  },
  ...(["int8", "uint8"] as const).flatMap(integerLayers),
  ...halves(),
  ...recipe(),
  ...others(),
];
