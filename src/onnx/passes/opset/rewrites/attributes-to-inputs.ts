import { floatTypes } from "../../../../dtypes.ts";
import { attributeOf } from "../../../ir/graph.ts";
import { isNumberType, type NumberType } from "../number-tensors.ts";
import { type Done, dropAttributes, hasAttribute, putInt, type Rewrite, type Step, trimmed } from "../opset-step.ts";

// Attributes that became inputs.

const now = (names: string) => `${names} as input${names.includes(" and ") ? "s" : ""}`;

/** An attribute of numbers becomes the input behind those there are. */
function intsToInput(step: Step, attribute: string): Done {
  const { node } = step;
  const values = attributeOf(node, attribute, "ints");
  if (!dropAttributes(node, attribute)) return undefined;
  // No axes were all axes, as they are where the input is left out.
  if (!values || values.length === 0) return undefined;
  node.inputs = [...node.inputs.slice(0, 1), step.numbers(attribute, "int64", values)];
  return now(attribute);
}

export const axesToInput: Rewrite = (step) => intsToInput(step, "axes");

export const splitToInput: Rewrite = (step) => intsToInput(step, "split");

/** Until 18 as many equal parts as there are outputs; from then on the node says how many. */
export const splitCount: Rewrite = ({ node }) => {
  if (node.inputs[1]) return undefined;
  putInt(node, "num_outputs", node.outputs.length);
  return "num_outputs said";
};

export const reshapeToInput: Rewrite = (step) => {
  dropAttributes(step.node, "consumed_inputs");
  if (!hasAttribute(step.node, "shape")) return step.refuse("it has no shape");
  return intsToInput(step, "shape");
};

export const sliceToInputs: Rewrite = (step) => {
  const { node } = step;
  const [starts, ends, axes] = ["starts", "ends", "axes"].map((name) => attributeOf(node, name, "ints"));
  if (!starts || !ends) return step.refuse("it has no starts or no ends");
  dropAttributes(node, "starts", "ends", "axes");
  const lists = [step.numbers("starts", "int64", starts), step.numbers("ends", "int64", ends)];
  node.inputs = [...node.inputs.slice(0, 1), ...lists, ...(axes ? [step.numbers("axes", "int64", axes)] : [])];
  return now(axes ? "starts, ends and axes" : "starts and ends");
};

export const topKToInput: Rewrite = (step) => {
  const { node } = step;
  const k = attributeOf(node, "k", "int");
  if (k === undefined) return step.refuse("it has no k");
  dropAttributes(node, "k");
  node.inputs = [...node.inputs.slice(0, 1), step.numbers("k", "int64", [k])];
  return now("k");
};

/** The largest float32: a bound where none was said, until opset 11. */
const LARGEST = floatTypes.float32.largest;

export const clipToInputs: Rewrite = (step) => {
  const { node } = step;
  const type = step.type(node.inputs[0]);
  // From 11 on the bounds are those of the type, which only for float32 are the same.
  const open = type === "float64" ? LARGEST : undefined;
  const min = attributeOf(node, "min", "float") ?? (open && -open);
  const max = attributeOf(node, "max", "float") ?? open;
  dropAttributes(node, "min", "max");
  if (min === undefined && max === undefined) return undefined;
  const bound = (what: string, value: number | undefined) =>
    value === undefined ? "" : step.numbers(what, floatTypeOf(step), [value], []);
  node.inputs = trimmed([...node.inputs.slice(0, 1), bound("min", min), bound("max", max)]);
  return now([min !== undefined && "min", max !== undefined && "max"].filter(Boolean).join(" and "));
};

export const padToInputs: Rewrite = (step) => {
  const { node } = step;
  const pads = attributeOf(node, "pads", "ints");
  if (!pads) return step.refuse("it has no pads");
  const value = attributeOf(node, "value", "float") ?? 0;
  const needed = value !== 0 && (attributeOf(node, "mode", "string") ?? "constant") === "constant";
  dropAttributes(node, "pads", "value");
  const list = step.numbers("pads", "int64", pads);
  node.inputs = [
    ...node.inputs.slice(0, 1),
    list,
    ...(needed ? [step.numbers("value", floatTypeOf(step), [value], [])] : []),
  ];
  return now(needed ? "pads and value" : "pads");
};

/** The type of the node's data, which a new input must have too. */
function floatTypeOf(step: Step): NumberType {
  const [data] = step.node.inputs;
  const type = step.type(data);
  if (isNumberType(type)) return type;
  const what = type === undefined ? "of a type the file does not tell" : `${type}, which it never took`;
  return step.refuse(`its data ${JSON.stringify(data)} is ${what}`);
}

/** Nothing is dropped unless somebody trains, so the ratio is kept for them alone. */
export const dropoutToInput: Rewrite = (step) => {
  const { node } = step;
  if (step.isUsed(node.outputs[1]))
    step.refuse(`its mask ${JSON.stringify(node.outputs[1])} is used, and nothing said what it holds`);
  const ratio = attributeOf(node, "ratio", "float");
  if (!dropAttributes(node, "ratio") || ratio === undefined || ratio === 0.5) return undefined;
  node.inputs = [...node.inputs.slice(0, 1), step.numbers("ratio", "float32", [ratio], [])];
  return now("ratio");
};

/** The mask was of the data's type, and is bool from 10 on. */
export const dropMask: Rewrite = (step) => {
  const { node } = step;
  const [, mask] = node.outputs;
  if (step.isUsed(mask)) step.refuse(`its mask ${JSON.stringify(mask)} is used, and is of another type from there on`);
  if (!mask) return undefined;
  node.outputs = node.outputs.slice(0, 1);
  return "without the mask, which nobody uses";
};

/** Counted from the front before 20, where the default became the last but one. */
export const dftAxisToInput: Rewrite = (step) => {
  const { node } = step;
  const axis = attributeOf(node, "axis", "int") ?? 1;
  dropAttributes(node, "axis");
  const [data = "", length = ""] = node.inputs;
  node.inputs = [data, length, step.numbers("axis", "int64", [axis], [])];
  return now("axis");
};
