import type { TensorFiles } from "./data.ts";
import { tensorsOf } from "./data.ts";
import type { Model, Node } from "./graph.ts";
import { opNameOf, type WeightAxes, weightAxesOf } from "./ops.ts";
import type { Constant, Scope } from "./scopes.ts";
import { type Integers, isViewOp, viewOf } from "./views.ts";

/** A node that uses a constant, directly or through a view of it. */
export interface Use {
  readonly node: Node;
  readonly scope: Scope;
  readonly input: number;
  /** How the constant is laid out for this node, in the constant's own axes; undefined where it is no weight to it. */
  readonly axes: WeightAxes | undefined;
  /** Whether it takes the constant as it is. */
  readonly direct: boolean;
}

/** A float constant and who uses it. */
export interface FloatConstant extends Constant {
  readonly uses: readonly Use[];
}

/** Shapes and axes are this long at the most. */
const FEW = 64;

/** Reads the whole numbers of small constants, which say what shapes others are brought to. */
export async function readIntegers(model: Model, files: TensorFiles): Promise<Integers> {
  const integers = new Map<unknown, readonly number[]>();
  for (const tensor of tensorsOf(model)) {
    const elements = tensor.shape.reduce((product, dimension) => product * dimension, 1);
    if (elements > FEW || (tensor.type !== "int64" && tensor.type !== "int32")) continue;
    const bytes = await files.read(tensor);
    const Type = tensor.type === "int64" ? BigInt64Array : Int32Array;
    integers.set(tensor, Array.from(new Type(bytes.slice().buffer), Number));
  }
  return integers;
}

/** The float constants of a model, in the order of the file, each with its uses in all graphs. */
export function findConstants(root: Scope, integers: Integers): FloatConstant[] {
  const uses = new Map<unknown, Use[]>();
  for (const scope of root.all()) {
    for (const node of scope.graph.nodes) {
      const isView = isViewOp(node);
      node.inputs.forEach((name, input) => {
        const view = name === "" || (isView && input === 0) ? undefined : viewOf(name, scope, integers);
        if (!view) return;
        const axes = weightAxesOf(node, input, view.shape.length);
        const channel = axes?.channel && view.toRoot(axes.channel);
        const block = axes?.block === undefined ? undefined : view.toRoot([axes.block, axes.block]);
        const own = axes && { channel, block: block && block[0] === block[1] ? block[0] : undefined };
        const direct = name === view.constant.name;
        const { tensor } = view.constant;
        uses.set(tensor, [...(uses.get(tensor) ?? []), { node, scope, input, axes: own, direct }]);
      });
    }
  }
  return constantsOf(root).map((constant) => ({ ...constant, uses: uses.get(constant.tensor) ?? [] }));
}

function constantsOf(root: Scope): Constant[] {
  const constants: Constant[] = [];
  for (const { graph, find } of boundScopes(root)) {
    const names = [...graph.initializers.map(({ name }) => name), ...graph.nodes.flatMap(({ outputs }) => outputs)];
    for (const name of names) {
      const definition = find(name);
      if (definition?.kind === "constant" && isFloat(definition.constant)) constants.push(definition.constant);
    }
  }
  return constants;
}

function* boundScopes(root: Scope) {
  for (const scope of root.all())
    yield { graph: scope.graph, find: (name: string) => (name === "" ? undefined : scope.find(name)) };
}

function isFloat({ tensor: { type } }: Constant): boolean {
  return type === "float32" || type === "float16" || type === "bfloat16" || type === "float64";
}

/** The types of the nodes that use a constant, each once. */
export function usersOf({ uses }: FloatConstant): readonly string[] {
  return [...new Set(uses.map(({ node }) => opNameOf(node)))];
}
