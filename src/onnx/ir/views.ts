import { elementsOf } from "../../engine/tensors/shape.ts";
import { codeOf, type ElementType } from "../proto/schema.ts";
import { attributeOf, type Node } from "./graph.ts";
import type { AxisRange } from "./operators.ts";
import type { Constant, Scope } from "./scopes.ts";

/** A constant, or what Reshape, Transpose and their like make of one: the same numbers, laid out otherwise. */
export interface View {
  readonly constant: Constant;
  readonly shape: readonly number[];
  /** What its numbers are: floats may be cast on the way. */
  readonly type: ElementType | undefined;
  /** Which axes of the constant the axes of this view are; undefined where they are none of its own. */
  readonly toRoot: (axes: AxisRange) => AxisRange | undefined;
}

/** Integers of small constants, by tensor: shapes, axes. */
export type Integers = ReadonlyMap<unknown, readonly number[]>;

/** Real models have three or four views of a weight; a circle has no end. */
const MOST_VIEWS = 64;

/** Follows a name back to the constant it shows, if it does. */
export function viewOf(name: string, scope: Scope, integers: Integers): View | undefined {
  const steps: { readonly node: Node; readonly home: Scope }[] = [];
  let definition = scope.find(name);
  while (definition?.kind === "node" && isViewOp(definition.node) && steps.length < MOST_VIEWS) {
    const { node, scope: home } = definition;
    steps.push({ node, home });
    definition = home.find(node.inputs[0] ?? "");
  }
  if (definition?.kind !== "constant") return undefined;
  const { constant } = definition;
  const { shape, type } = constant.tensor;
  let view: View | undefined = { constant, shape, type, toRoot: (axes) => axes };
  for (const { node, home } of steps.reverse()) view = view && apply(node, view, home, integers);
  return view;
}

/**
 * How a view's numbers lie in its constant: in their own order, or with the view's last two axes swapped; undefined where
 * they lie otherwise.
 */
export function orderOf({ shape, toRoot }: View): "same" | "swapped" | undefined {
  const rises = (axes: readonly number[]) => {
    // An axis of one place has no order.
    const ranges = axes.filter((axis) => shape[axis] !== 1).map((axis) => toRoot([axis, axis]));
    return ranges.every((range, i) => range && (i === 0 || ranges[i - 1]![1] < range[0]));
  };
  const axes = shape.map((_, axis) => axis);
  if (rises(axes)) return "same";
  const [second, last] = axes.slice(-2);
  return last !== undefined && rises([...axes.slice(0, -2), last, second!]) ? "swapped" : undefined;
}

/** Whether a node does no more than show its first input otherwise. */
export function isViewOp(node: Node): boolean {
  if (node.domain !== "" || !viewOps.has(node.opType)) return false;
  return node.opType !== "Cast" || floatCodes.has(attributeOf(node, "to", "int") ?? 0);
}

/** To whole numbers is another matter: what is a little off there may be another number. */
const floatTypes = ["float16", "bfloat16", "float32", "float64"] as const;
const floatCodes = new Set(floatTypes.map(codeOf));

const viewOps = new Set(["Identity", "Cast", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten"]);

function apply(node: Node, inner: View, scope: Scope, integers: Integers): View | undefined {
  if (node.opType === "Identity") return inner;
  if (node.opType === "Cast") {
    return { ...inner, type: floatTypes.find((type) => codeOf(type) === attributeOf(node, "to", "int")) };
  }
  const rank = inner.shape.length;
  if (node.opType === "Transpose") {
    const perm = attributeOf(node, "perm", "ints") ?? inner.shape.map((_, i) => rank - 1 - i);
    if ([...perm].sort((a, b) => a - b).join() !== inner.shape.map((_, i) => i).join()) return undefined;
    const toRoot = ([first, last]: AxisRange) => {
      const axes = perm.slice(first, last + 1);
      const [from] = axes;
      // Axes that are next to each other stay one range if they were so before, in that order.
      const isRange = from !== undefined && axes.every((axis, i) => axis === from + i);
      return isRange ? inner.toRoot([from, from + axes.length - 1]) : undefined;
    };
    return { ...inner, shape: perm.map((axis) => inner.shape[axis]!), toRoot };
  }
  const shape = reshaped(node, inner.shape, () => {
    const definition = scope.find(node.inputs[1] ?? "");
    if (definition?.kind === "constant") return integers.get(definition.constant.tensor);
    if (definition?.kind !== "node" || definition.node.opType !== "Constant") return undefined;
    const one = attributeOf(definition.node, "value_int", "int");
    return one === undefined ? attributeOf(definition.node, "value_ints", "ints") : [one];
  });
  if (!shape || elementsOf(shape) !== elementsOf(inner.shape)) return undefined;
  return { ...inner, shape, toRoot: (axes) => acrossReshape(axes, shape, inner) };
}

/** The axes of `inner` with the same stride and count as those of `shape`. */
function acrossReshape([first, last]: AxisRange, shape: readonly number[], inner: View): AxisRange | undefined {
  const outer = elementsOf(shape.slice(0, first));
  const count = elementsOf(shape.slice(first, last + 1));
  const starts = inner.shape.map((_, axis) => elementsOf(inner.shape.slice(0, axis)));
  for (let from = 0; from < inner.shape.length; from++) {
    if (starts[from] !== outer || inner.shape[from] === 1) continue;
    for (let to = from; to < inner.shape.length; to++) {
      if (elementsOf(inner.shape.slice(from, to + 1)) === count) return inner.toRoot([from, to]);
    }
  }
  return undefined;
}

/** The shape a node gives, where it can be told. */
export function reshaped(
  node: Node,
  shape: readonly number[],
  second: () => readonly number[] | undefined,
): readonly number[] | undefined {
  const rank = shape.length;
  const axes = () => attributeOf(node, "axes", "ints") ?? second();
  switch (node.opType) {
    case "Flatten": {
      const axis = attributeOf(node, "axis", "int") ?? 1;
      const at = axis < 0 ? axis + rank : axis;
      return [elementsOf(shape.slice(0, at)), elementsOf(shape.slice(at))];
    }
    case "Reshape":
      return fill(attributeOf(node, "shape", "ints") ?? second(), shape, attributeOf(node, "allowzero", "int") === 1);
    case "Squeeze": {
      const gone =
        node.inputs.length > 1 || node.attributes.length > 0 ? axes()?.map((a) => (a < 0 ? a + rank : a)) : undefined;
      if (!gone && (node.inputs.length > 1 || node.attributes.length > 0)) return undefined;
      // No axes given as a list of none: the standard takes nothing away, ONNX Runtime every 1.
      if (gone?.length === 0) return undefined;
      return shape.filter((dimension, axis) => (gone ? !gone.includes(axis) : dimension !== 1));
    }
    default: {
      const given = axes();
      if (!given) return undefined;
      const wide = rank + given.length;
      const made = new Set(given.map((a) => (a < 0 ? a + wide : a)));
      const rest = [...shape];
      return Array.from({ length: wide }, (_, axis) => (made.has(axis) ? 1 : (rest.shift() ?? 0)));
    }
  }
}

/** Reshape's own rules: 0 keeps a dimension, -1 is what is left. */
function fill(
  wanted: readonly number[] | undefined,
  shape: readonly number[],
  allowZero: boolean,
): readonly number[] | undefined {
  if (!wanted) return undefined;
  const kept = wanted.map((dimension, i) => (dimension === 0 && !allowZero ? (shape[i] ?? 0) : dimension));
  const known = elementsOf(kept.filter((dimension) => dimension !== -1));
  return kept.map((dimension) => (dimension === -1 ? elementsOf(shape) / known : dimension));
}
