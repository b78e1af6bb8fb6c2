import { codeTypes } from "../../dtypes.ts";
import { type BitWidth, bitWidths } from "../../engine/blockwise/quantize-matrix.ts";
import type { Granularity } from "../../engine/tensors/granularity.ts";
import { elementsOf } from "../../engine/tensors/shape.ts";
import { attributeOf, type Node, type Tensor } from "../ir/graph.ts";
import { opNameOf, QUANT_TYPES } from "../ir/operators.ts";
import type { Scope } from "../ir/scopes.ts";

/** A weight that a model holds as codes: written by this engine, by ONNX Runtime's tools, or behind DequantizeLinear. */
export interface QuantizedConstant {
  /** What the float weight is called, or was. */
  readonly name: string;
  /** The weight's own; of a product's matrix [K, N], however the weight lay before. */
  readonly shape: readonly number[];
  /** What its codes are: int8, int4, nf4. */
  readonly dtype: string;
  readonly codes: Tensor;
  readonly scale: Tensor;
  readonly zeroPoint: Tensor | undefined;
  readonly stored: StoredForm;
}

/** How the codes lie. */
export type StoredForm =
  /** As the weight, or with its last two axes swapped. */
  | { readonly kind: "integer"; readonly granularity: Granularity; readonly swapsLast?: boolean }
  /** [N, blocks, bytes]; of a table [N, bytes], its rows cut short where their values end. */
  | ({ readonly kind: "matrix"; readonly bits: BitWidth; readonly isTable: boolean } & Sides)
  | ({ readonly kind: "bnb4"; readonly quantType: (typeof QUANT_TYPES)[number] } & Sides);

interface Sides {
  readonly n: number;
  readonly k: number;
  readonly blockSize: number;
}

/** Finds the constants of a model that are codes with scales beside them. */
export function findQuantized(root: Scope): QuantizedConstant[] {
  const found = new Map<Tensor, QuantizedConstant>();
  const blockSizes = new Map<Tensor, number>();
  for (const scope of root.all()) {
    for (const node of scope.graph.nodes) {
      if (node.opType === "Gather") {
        const size = /^block_of_(\d+)_in_/.exec(node.inputs[1] ?? "")?.[1];
        const spread = size === undefined ? undefined : constantBehind(scope, node.inputs[0]);
        if (spread) blockSizes.set(spread, Number(size));
      }
      for (const parts of takersAt(node)) {
        const weight = weightAt(node, scope, parts);
        if (weight && !found.has(weight.codes)) found.set(weight.codes, weight);
      }
    }
  }
  for (const scope of root.all()) {
    for (const codes of scope.graph.initializers) {
      if (!codes.name.endsWith(SUFFIX) || !isCodes(codes) || found.has(codes)) continue;
      const name = codes.name.slice(0, -SUFFIX.length);
      const scale = constantBehind(scope, `${name}_scale`);
      if (!scale || !scaleTypes.has(scale.type ?? "")) continue;
      const granularity = granularityOf(codes.shape, scale.shape, blockSizes.get(scale));
      const zeroPoint = constantBehind(scope, `${name}_zero_point`);
      if (granularity) found.set(codes, { ...integerCodes(codes, granularity), name, codes, scale, zeroPoint });
    }
  }
  return [...found.values()];
}

/** Where a node has its codes, and what belongs to them. */
interface Parts {
  readonly codes: number;
  /** An input, or found behind the node. */
  readonly scale: number | "behind";
  readonly zeroPoint: number;
  readonly form: (node: Node, codes: Tensor, scale: Tensor) => Form | undefined;
}

type Form = Pick<QuantizedConstant, "shape" | "dtype" | "stored">;

const swapped: Parts["form"] = (_, codes, { shape }) => {
  const [directions = 0, columns = 0, rows = 0] = codes.shape;
  const axis = shape.length === 2 ? ([0, 1] as const) : 0;
  const stored = { kind: "integer", granularity: { axis }, swapsLast: true } as const;
  return { shape: [directions, rows, columns], dtype: codes.type!, stored };
};

/** One scale for all, or one for each place along an axis, which may be counted from the end. */
const along =
  (axis: number): Parts["form"] =>
  (_, codes, scale) => {
    const own = axis < 0 ? axis + codes.shape.length : axis;
    const many = elementsOf(scale.shape);
    if (many === 1) return integerCodes(codes, {});
    return many === codes.shape[own] ? integerCodes(codes, { axis: own }) : undefined;
  };

const takers: Readonly<Record<string, readonly Parts[]>> = {
  DequantizeLinear: [
    {
      codes: 0,
      scale: 1,
      zeroPoint: 2,
      form: (node, codes, scale) => integerCodes(codes, granularityFrom(node, codes, scale)),
    },
  ],
  MatMulInteger: [{ codes: 1, scale: "behind", zeroPoint: 3, form: along(-1) }],
  ConvInteger: [{ codes: 1, scale: "behind", zeroPoint: 3, form: along(0) }],
  QLinearConv: [{ codes: 3, scale: 4, zeroPoint: 5, form: along(0) }],
  QLinearMatMul: [{ codes: 3, scale: 4, zeroPoint: 5, form: along(-1) }],
  "com.microsoft.DynamicQuantizeMatMul": [{ codes: 1, scale: 2, zeroPoint: 3, form: along(-1) }],
  "com.microsoft.MatMulIntegerToFloat": [{ codes: 1, scale: 3, zeroPoint: 5, form: along(-1) }],
  "com.microsoft.QGemm": [
    {
      codes: 3,
      scale: 4,
      zeroPoint: 5,
      form: (node, codes, scale) => along(attributeOf(node, "transB", "int") === 1 ? 0 : -1)(node, codes, scale),
    },
  ],
  "com.microsoft.QAttention": [{ codes: 1, scale: 4, zeroPoint: 7, form: along(-1) }],
  "com.microsoft.DynamicQuantizeLSTM": [
    { codes: 1, scale: 8, zeroPoint: 9, form: swapped },
    { codes: 2, scale: 10, zeroPoint: 11, form: swapped },
  ],
  "com.microsoft.MatMulNBits": [{ codes: 1, scale: 2, zeroPoint: 3, form: matrixOf }],
  "com.microsoft.MatMulBnb4": [{ codes: 1, scale: 2, zeroPoint: -1, form: bnb4Of }],
  "com.microsoft.GatherBlockQuantized": [{ codes: 0, scale: 2, zeroPoint: 3, form: tableOf }],
};

/** Whether an input of a node is one that takes codes of a weight. */
export function isCodesInput(node: Node, input: number): boolean {
  return takersAt(node).some(({ codes }) => codes === input);
}

function takersAt(node: Node): readonly Parts[] {
  const name = opNameOf(node);
  return Object.hasOwn(takers, name) ? takers[name]! : [];
}

function weightAt(node: Node, scope: Scope, { form, ...parts }: Parts): QuantizedConstant | undefined {
  const constantAt = (input: number) => constantBehind(scope, node.inputs[input]);
  const codes = constantAt(parts.codes);
  const scale = parts.scale === "behind" ? scaleBehind(node, scope) : constantAt(parts.scale);
  if (!codes || !scale || !scaleTypes.has(scale.type ?? "") || !isCodes(codes)) return undefined;
  const made = form(node, codes, scale);
  const output = node.opType === "DequantizeLinear" ? node.outputs[0] : undefined;
  return made && { ...made, name: nameOf(codes.name, output), codes, scale, zeroPoint: constantAt(parts.zeroPoint) };
}

function matrixOf(node: Node): Form | undefined {
  const bits = bitsOf(node);
  const sides = sidesOf(node);
  return (
    bits &&
    sides && {
      shape: [sides.k, sides.n],
      dtype: `int${bits}`,
      stored: { kind: "matrix", bits, isTable: false, ...sides },
    }
  );
}

function bnb4Of(node: Node): Form | undefined {
  const sides = sidesOf(node);
  const quantType = QUANT_TYPES[attributeOf(node, "quant_type", "int") ?? -1];
  return (
    sides && quantType && { shape: [sides.k, sides.n], dtype: quantType, stored: { kind: "bnb4", quantType, ...sides } }
  );
}

/** Of bytes, which hold several codes each, or of a type of 4 bits, which are codes like any others. */
function tableOf(node: Node, codes: Tensor, scale: Tensor): Form | undefined {
  const blockSize = attributeOf(node, "block_size", "int") ?? 128;
  const axis = attributeOf(node, "quantize_axis", "int") ?? 1;
  if (codes.type !== "uint8") {
    return integerCodes(codes, { axis: axis < 0 ? axis + codes.shape.length : axis, blockSize });
  }
  const bits = bitsOf(node);
  const [n = 0, bytes = 0] = codes.shape;
  if (!bits || codes.shape.length !== 2 || scale.shape.length !== 2) return undefined;
  const k = (bytes * 8) / bits;
  return { shape: [n, k], dtype: `int${bits}`, stored: { kind: "matrix", bits, isTable: true, n, k, blockSize } };
}

function bitsOf(node: Node): BitWidth | undefined {
  const bits = attributeOf(node, "bits", "int") ?? 4;
  return bitWidths.find((width) => width === bits);
}

function sidesOf(node: Node): Sides | undefined {
  const [n, k, blockSize] = ["N", "K", "block_size"].map((name) => attributeOf(node, name, "int"));
  return n === undefined || k === undefined || blockSize === undefined ? undefined : { n, k, blockSize };
}

function integerCodes(codes: Tensor, granularity: Granularity): Form {
  return { shape: codes.shape, dtype: codes.type!, stored: { kind: "integer", granularity } };
}

/** A constant as it lies, or the one whose rows a Gather takes. */
function constantBehind(scope: Scope, name: string | undefined): Tensor | undefined {
  const definition = name ? scope.find(name) : undefined;
  if (definition?.kind === "constant") return definition.constant.tensor;
  if (definition?.kind !== "node" || definition.node.opType !== "Gather") return undefined;
  const table = definition.scope.find(definition.node.inputs[0] ?? "");
  return table?.kind === "constant" ? table.constant.tensor : undefined;
}

/** As DequantizeLinear says; behind a Gather its axis is counted from the end, or stands before the gathered one. */
function granularityFrom(node: Node, codes: Tensor, scale: Tensor): Granularity {
  const blockSize = attributeOf(node, "block_size", "int") || undefined;
  if (elementsOf(scale.shape) === 1 && blockSize === undefined) return {};
  const axis = attributeOf(node, "axis", "int") ?? 1;
  return { axis: axis < 0 ? axis + codes.shape.length : axis, blockSize };
}

const SUFFIX = "_quantized";

/** What codes are called after their weight, with a number behind it where that was taken. */
const suffixes = /_(quantized|DQ_Q4|Q[248]|Bnb4)(_\d+)?$/;

function nameOf(codes: string, restored = codes): string {
  return suffixes.test(codes) ? codes.replace(suffixes, "") : restored;
}

const scaleTypes = new Set(["float32", "float16", "bfloat16"]);

function isCodes({ type }: Tensor): boolean {
  return type !== undefined && type in codeTypes;
}

/** How scales of a shape stand beside codes of another: as numpy broadcasts them, or one for each of the first axis. */
function granularityOf(
  shape: readonly number[],
  scales: readonly number[],
  blockSize: number | undefined,
): Granularity | undefined {
  if (elementsOf(scales) === 1) return {};
  const full = [...Array<number>(Math.max(shape.length - scales.length, 0)).fill(1), ...scales];
  if (full.length !== shape.length) return undefined;
  if (blockSize !== undefined) {
    const axis = full.findIndex((d, i) => d !== shape[i]);
    return { axis: axis < 0 ? undefined : axis, blockSize };
  }
  // One for each output channel, as QLinearConv has them, stands in no axis' place.
  if (scales.length === 1 && shape.length > 2 && scales[0] === shape[0]) return { axis: 0 };
  const axes = full.flatMap((d, i) => (d === 1 ? [] : [i]));
  if (axes.length > 0 && axes.every((axis) => full[axis] === shape[axis])) {
    const [first = 0, last = first] = [axes[0], axes.at(-1)];
    return { axis: first === last ? first : [first, last] };
  }
  return scales.length === 1 && scales[0] === shape[0] ? { axis: 0 } : undefined;
}

/**
 * The scale of a weight that an integer product takes: a constant factor of what is multiplied with the product.
 *
 *   product -> Cast -> Mul <- [Mul <- scale of the activation] <- scale of the weight
 */
export function scaleBehind(product: Node, scope: Scope): Tensor | undefined {
  const cast = onlyUser(scope, product.outputs[0], "Cast");
  const scaled = cast && onlyUser(scope, cast.outputs[0], "Mul");
  const factor = scaled?.inputs.find((name) => name !== cast?.outputs[0]);
  const definition = factor === undefined ? undefined : scope.find(factor);
  if (definition?.kind === "constant") return definition.constant.tensor;
  if (definition?.kind !== "node" || definition.node.opType !== "Mul") return undefined;
  // Of an activation that is made of a table's codes both are constants; the weight's is the second.
  const factors = definition.node.inputs.map((name) => definition.scope.find(name));
  const constant = factors.findLast((each) => each?.kind === "constant");
  return constant?.kind === "constant" ? constant.constant.tensor : undefined;
}

const users = new WeakMap<Scope, ReadonlyMap<string, readonly Node[]>>();
function onlyUser(scope: Scope, name: string | undefined, opType: string): Node | undefined {
  const [user, ...others] = usersIn(scope).get(name ?? "") ?? [];
  return others.length === 0 && user?.opType === opType ? user : undefined;
}

function usersIn(scope: Scope): ReadonlyMap<string, readonly Node[]> {
  const there = users.get(scope);
  if (there) return there;
  const found = new Map<string, Node[]>();
  for (const node of scope.graph.nodes) {
    for (const name of new Set(node.inputs)) {
      const there = found.get(name);
      if (there) there.push(node);
      else found.set(name, [node]);
    }
  }
  users.set(scope, found);
  return found;
}
