import { attributeOf, intAttribute } from "../../../ir/graph.ts";
import { dropAttributes, intsAttribute, putAttribute, type Rewrite } from "../opset-step.ts";

// Layers and loops that took other data, or took another name.

/** Statistics for each element of a channel are no more. */
export const spatialOnly: Rewrite = (step) => {
  if (attributeOf(step.node, "spatial", "int") === 0) step.refuse("its spatial is 0, which is gone");
  dropAttributes(step.node, "spatial");
  return undefined;
};

/** Before 14 outputs behind the first one said that it trains. */
export const noTraining: Rewrite = (step) => {
  const { node } = step;
  if (node.outputs.slice(1).some((output) => output !== "")) step.refuse("it has the outputs of training");
  if (node.outputs.length > 1) node.outputs = node.outputs.slice(0, 1);
  return undefined;
};

/** Of integers no more. */
export const floatsOnly: Rewrite = (step) => {
  const type = step.type(step.node.inputs[0]);
  if (type && /^u?int/.test(type)) step.refuse(`its data is ${type}, which it does not take from there on`);
  return undefined;
};

/** The op took another name, and negative indices. */
export const scatterElements: Rewrite = ({ node }) => {
  node.opType = "ScatterElements";
  return "as ScatterElements";
};

/** Values for each group became values for each channel: each is repeated for the channels of its group. */
export const groupToChannels: Rewrite = (step) => {
  const { node } = step;
  const groups = attributeOf(node, "num_groups", "int");
  const [x = "", scale = "", bias = ""] = node.inputs;
  if (groups === undefined) return step.refuse("it has no num_groups");
  const channels = step.insert("Shape", [x], "channels", [intAttribute("start", 1), intAttribute("end", 2)]);
  const each = step.insert("Div", [channels, step.numbers("groups", "int64", [groups])], "channels_of_group");
  const [column, flat] = [step.numbers("axis", "int64", [1]), step.numbers("flat", "int64", [-1])];
  const repeated = (what: string, input: string) => {
    const tall = step.insert("Unsqueeze", [input, column], `${what}_column`);
    return step.insert("Reshape", [step.insert("Expand", [tall, each], `${what}_table`), flat], what);
  };
  node.inputs = [x, repeated("scale", scale), repeated("bias", bias)];
  return "scale and bias for each channel";
};

/** Scan worked on a batch of sequences; of a batch of one the dimension is taken away and put back. */
export const scanWithoutBatch: Rewrite = (step) => {
  const { node } = step;
  const [lengths, ...inputs] = node.inputs;
  if (lengths) return step.refuse("its sequences have lengths of their own");
  if (!inputs.some((input) => step.shape(input)?.[0] === 1)) {
    return step.refuse("it runs over a batch, which the file does not say to be 1");
  }
  const zero = [intsAttribute("axes", [0])];
  node.inputs = inputs.map((input) => step.insert("Squeeze", [input], "of_batch", zero));
  node.outputs.forEach((output, index) => {
    if (output !== "") step.append("Unsqueeze", (inner) => [inner], "in_batch", zero, index);
  });
  const directions = attributeOf(node, "directions", "ints");
  if (dropAttributes(node, "directions") && directions) {
    putAttribute(node, intsAttribute("scan_input_directions", directions));
  }
  return "without the batch";
};
