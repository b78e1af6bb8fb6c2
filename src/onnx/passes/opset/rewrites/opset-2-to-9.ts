import { attributeOf, makeAttribute } from "../../../ir/graph.ts";
import {
  dropAttributes,
  hasAttribute,
  intsAttribute,
  putAttribute,
  putInt,
  type Rewrite,
  type Step,
} from "../opset-step.ts";

// What changed up to opset 7: names and types of attributes, and how shapes are matched.

/** A hint for memory that opset 6 did away with. */
export const dropConsumed: Rewrite = ({ node }) => {
  dropAttributes(node, "consumed_inputs");
  return undefined;
};

/** The defaults had fewer digits. */
export const seluDefaults: Rewrite = ({ node }) => {
  dropAttributes(node, "consumed_inputs");
  for (const [name, value] of [
    ["alpha", 1.6732],
    ["gamma", 1.0507],
  ] as const) {
    if (!hasAttribute(node, name)) putAttribute(node, makeAttribute(name, { kind: "float", value }));
  }
  return "alpha and gamma said";
};

const castTypes = `FLOAT UINT8 INT8 UINT16 INT16 INT32 INT64 STRING BOOL FLOAT16 DOUBLE UINT32 UINT64 COMPLEX64
  COMPLEX128`.split(/\s+/);

export const castByNumber: Rewrite = (step) => {
  const to = attributeOf(step.node, "to", "string");
  const code = castTypes.indexOf(to?.toUpperCase() ?? "") + 1;
  if (code === 0) return step.refuse(to === undefined ? "it does not say to what type" : `there is no type ${to}`);
  putInt(step.node, "to", code);
  return undefined;
};

export const concatAxis: Rewrite = ({ node }) => {
  if (!hasAttribute(node, "axis")) putInt(node, "axis", 1);
  return undefined;
};

export const padNames: Rewrite = (step) => {
  const pads = attributeOf(step.node, "paddings", "ints");
  if (!pads) return step.refuse("it has no paddings");
  dropAttributes(step.node, "paddings");
  putAttribute(step.node, intsAttribute("pads", pads));
  return undefined;
};

export const splitAttributes: Rewrite = async (step) => {
  const { node } = step;
  if (!hasAttribute(node, "axis")) step.refuse("it does not say along which axis");
  const [x = "", lengths] = node.inputs;
  if (!lengths) return undefined;
  const values = await step.constant(lengths);
  if (!values) return step.refuse(`its lengths ${JSON.stringify(lengths)} are computed`);
  node.inputs = [x];
  putAttribute(node, intsAttribute("split", values));
  return undefined;
};

/** Of a norm: a whole number from 2 on. */
export const wholeNorm: Rewrite = (step) => {
  const { node } = step;
  const p = attributeOf(node, "p", "float");
  if (node.opType === "LpPool" && !hasAttribute(node, "kernel_shape")) step.refuse("it has no kernel_shape");
  if (p === undefined) return undefined;
  if (!Number.isInteger(p)) step.refuse(`its p is ${p}, which is no whole number`);
  putInt(node, "p", p);
  return undefined;
};

/** One axis and how often became a number for each axis. */
export const tileRepeats: Rewrite = async (step) => {
  const { node } = step;
  const [x = "", tiles, axis] = node.inputs;
  const rank = step.shape(x)?.length;
  const [[count], [along]] = [(await step.constant(tiles)) ?? [], (await step.constant(axis)) ?? []];
  if (count === undefined || along === undefined) return step.refuse("its tiles or its axis are computed");
  if (rank === undefined) return step.refuse(`the file does not tell how many dimensions ${JSON.stringify(x)} has`);
  const repeats = Array.from({ length: rank }, (_, i) => (i === along || i === along + rank ? count : 1));
  node.inputs = [x, step.numbers("repeats", "int64", repeats)];
  return "repeats for each axis";
};

/** From 7 on shapes are matched from the end, as NumPy does; an axis said where before. */
export const broadcastFromEnd: Rewrite = (step) => {
  const { node } = step;
  const axis = attributeOf(node, "axis", "int");
  const broadcast = attributeOf(node, "broadcast", "int") ?? 0;
  dropAttributes(node, "axis", "broadcast");
  if (broadcast === 0 || axis === undefined) return undefined;
  const [a = "", b = ""] = node.inputs;
  const [left, right] = [step.shape(a), step.shape(b)];
  if (right?.every((length) => length === 1)) return undefined;
  if (!left || !right)
    return step.refuse(`it broadcasts along axis ${axis}, and the file does not tell its inputs' shapes`);
  const behind = left.length - (axis < 0 ? axis + left.length : axis) - right.length;
  if (behind < 0) step.refuse(`it broadcasts along axis ${axis}, where its second input does not fit`);
  return alignedBy(step, right.length, behind);
};

/** Gives the second input `behind` dimensions of 1 after those it has. */
function alignedBy(step: Step, rank: number, behind: number): string | undefined {
  if (behind === 0) return undefined;
  const { node } = step;
  const [a = "", b = ""] = node.inputs;
  const axes = Array.from({ length: behind }, (_, i) => rank + i);
  node.inputs = [a, step.insert("Unsqueeze", [b], "aligned", [intsAttribute("axes", axes)])];
  return "through Unsqueeze";
}

/** A slope for each channel was a list. */
export const slopeOfChannels: Rewrite = (step) => {
  const [x, slope] = step.node.inputs;
  const [data, list] = [step.shape(x), step.shape(slope)];
  if (list?.every((length) => length === 1) || (list?.length ?? 0) > 1) return undefined;
  if (!list || !data) return step.refuse("the file does not tell the shapes of its inputs");
  return alignedBy(step, 1, Math.max(data.length - 2, 0));
};

export const gemmBroadcast: Rewrite = ({ node }) => {
  dropAttributes(node, "broadcast");
  return undefined;
};

/** From 7 on what is there says whether the sequence is wanted. */
export const dropOutputSequence: Rewrite = (step) => {
  const { node } = step;
  const [sequence] = node.outputs;
  if (!attributeOf(node, "output_sequence", "int") && step.isUsed(sequence)) {
    step.refuse(`${JSON.stringify(sequence)} is used, but output_sequence is 0`);
  }
  dropAttributes(node, "output_sequence");
  return undefined;
};

/** Before 7 nodes trained unless they said otherwise; from then on BatchNormalization does if it has more outputs. */
export const dropIsTest: Rewrite = (step) => {
  const { node } = step;
  if (!attributeOf(node, "is_test", "int")) step.refuse("it is set to train: its is_test is 0");
  dropAttributes(node, "is_test");
  if (node.opType === "Dropout") return undefined;
  if (node.outputs.slice(1).some((output) => step.isUsed(output))) step.refuse("its outputs of training are used");
  if (node.outputs.length > 1) node.outputs = node.outputs.slice(0, 1);
  return undefined;
};
