import type { FloatDType } from "../../dtypes.ts";
import { elementsOf } from "../../engine/tensors/shape.ts";
import { ArgumentError } from "../../errors.ts";
import type { TensorFiles } from "../io/tensor-data.ts";
import { tensorsOf } from "../io/tensor-data.ts";
import { attributeOf, type Model, type Node, type Tensor } from "../ir/graph.ts";
import { opNameOf, type WeightAxes, weightAxesOf } from "../ir/operators.ts";
import type { Constant, Scope } from "../ir/scopes.ts";
import { type Integers, isViewOp, type View, viewOf } from "../ir/views.ts";

/** A node that uses a constant, directly or through a view of it. */
export interface Use {
  readonly node: Node;
  readonly scope: Scope;
  readonly input: number;
  /** How the constant is laid out for this node, in the constant's own axes; undefined where it is no weight to it. */
  readonly axes: WeightAxes | undefined;
  /** Whether it takes the constant as it is. */
  readonly direct: boolean;
  /** What it takes of the constant. */
  readonly view: View;
}

/** A float constant and who uses it. */
export interface FloatConstant extends Constant {
  readonly dtype: FloatDType | "float64";
  readonly uses: readonly Use[];
  /** Nodes that take it as it is and show it otherwise: Transpose, Reshape. */
  readonly viewers: readonly Node[];
  /** Whether it is wanted by its name, as a float: by such nodes, or as a graph's output. */
  readonly isShown: boolean;
}

const floats = ["float32", "float16", "bfloat16", "float64"] as const;

/** Shapes and axes are this long at the most. */
const FEW = 64;

/** Reads the whole numbers of small constants, which say what shapes others are brought to. */
export async function readIntegers(model: Model, files: TensorFiles): Promise<Integers> {
  const integers = new Map<unknown, readonly number[]>();
  for (const tensor of tensorsOf(model)) {
    if (elementsOf(tensor.shape) > FEW || (tensor.type !== "int64" && tensor.type !== "int32")) continue;
    const bytes = await files.read(tensor);
    const Type = tensor.type === "int64" ? BigInt64Array : Int32Array;
    integers.set(tensor, Array.from(new Type(bytes.slice().buffer), Number));
  }
  return integers;
}

/** The float constants of a model, in the order of the file, each with its uses in all graphs. */
export function findConstants(root: Scope, integers: Integers): FloatConstant[] {
  const uses = new Map<Tensor, Use[]>();
  const viewers = new Map<Tensor, Node[]>();
  const outputs = new Set<Tensor>();
  const constantAt = (scope: Scope, name: string) => {
    const definition = scope.find(name);
    return definition?.kind === "constant" ? definition.constant.tensor : undefined;
  };
  for (const scope of root.all()) {
    for (const node of scope.graph.nodes) {
      node.inputs.forEach((name, input) => {
        if (name === "") return;
        if (isViewOp(node) && input === 0) {
          const tensor = constantAt(scope, name);
          if (tensor) append(viewers, tensor, node);
          return;
        }
        const view = viewOf(name, scope, integers);
        if (!view) return;
        const direct = name === view.constant.name;
        append(uses, view.constant.tensor, { node, scope, input, axes: ownAxes(node, input, view), direct, view });
      });
    }
    for (const { name } of scope.graph.outputs) {
      const tensor = constantAt(scope, name);
      if (tensor) outputs.add(tensor);
    }
  }
  return constantsOf(root).flatMap((constant) => {
    const { tensor } = constant;
    const dtype = floatTypeOf(tensor);
    if (dtype === undefined) return [];
    const viewing = viewers.get(tensor) ?? [];
    const isShown = viewing.length > 0 || outputs.has(tensor);
    return { ...constant, dtype, uses: uses.get(tensor) ?? [], viewers: viewing, isShown };
  });
}

function append<K, V>(lists: Map<K, V[]>, key: K, value: V): void {
  const list = lists.get(key);
  if (list) list.push(value);
  else lists.set(key, [value]);
}

/** How a weight is laid out for a node, in the axes of the constant that a view shows. */
function ownAxes(node: Node, input: number, { shape, toRoot }: View): WeightAxes | undefined {
  const axes = weightAxesOf(node, input, shape.length);
  if (!axes) return undefined;
  const channel = axes.channel && toRoot(axes.channel);
  const block = axes.block === undefined ? undefined : toRoot([axes.block, axes.block]);
  return { channel, block: block && block[0] === block[1] ? block[0] : undefined };
}

function constantsOf(root: Scope): Constant[] {
  const constants: Constant[] = [];
  for (const scope of root.all()) {
    const { graph } = scope;
    const names = [...graph.initializers.map(({ name }) => name), ...graph.nodes.flatMap(({ outputs }) => outputs)];
    for (const name of names) {
      const definition = name === "" ? undefined : scope.find(name);
      if (definition?.kind === "constant") constants.push(definition.constant);
    }
  }
  return constants;
}

function floatTypeOf({ type }: Tensor): FloatConstant["dtype"] | undefined {
  return floats.find((dtype) => dtype === type);
}

/** The type of a constant that is quantized: those of float64 stay as they are (select-weights.ts). */
export function weightTypeOf({ name, dtype }: FloatConstant): FloatDType {
  if (dtype !== "float64") return dtype;
  throw new ArgumentError("dtype", `${name} is float64; it stays as it is`);
}

/** The types of the nodes that use a constant, each once. */
export function usersOf({ uses }: FloatConstant): readonly string[] {
  return [...new Set(uses.map(({ node }) => opNameOf(node)))];
}

/** Whether a node takes rows of a table as it lies. */
export function isLookup({ node, direct, input }: Pick<Use, "node" | "direct" | "input">): boolean {
  return node.opType === "Gather" && node.domain === "" && direct && input === 0 && Boolean(node.outputs[0]);
}

export function gatherAxisOf(node: Node, rank: number): number {
  const axis = attributeOf(node, "axis", "int") ?? 0;
  return axis < 0 ? axis + rank : axis;
}
