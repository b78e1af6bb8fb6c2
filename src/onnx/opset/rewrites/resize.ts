import { attributeOf, makeAttribute, type Node } from "../../graph.ts";
import {
  type Done,
  dropAttributes,
  intsAttribute,
  putAttribute,
  putString,
  type Rewrite,
  type Step,
  trimmed,
} from "../step.ts";

// Upsample, Resize, and what else samples.

export const upsampleScales: Rewrite = (step) => {
  const { node } = step;
  const [height, width] = ["height_scale", "width_scale"].map((name) => attributeOf(node, name, "float"));
  if (height === undefined || width === undefined) return step.refuse("it lacks height_scale or width_scale");
  dropAttributes(node, "height_scale", "width_scale");
  putAttribute(node, makeAttribute("scales", { kind: "floats", value: [1, 1, height, width] }));
  if (attributeOf(node, "mode", "string") === "bilinear") putString(node, "mode", "linear");
  return "scales in one list";
};

export const upsampleToInput: Rewrite = (step) => {
  const { node } = step;
  const scales = attributeOf(node, "scales", "floats");
  if (!scales) return step.refuse("it has no scales");
  dropAttributes(node, "scales");
  node.inputs = [...node.inputs.slice(0, 1), step.numbers("scales", "float32", scales)];
  return "scales as input";
};

/** Resizes that were Upsamples: their scales are never below 1. */
const upsamples = new WeakSet<Node>();

export const upsampleToResize: Rewrite = ({ node }) => {
  node.opType = "Resize";
  upsamples.add(node);
  return "as Resize";
};

/**
 * Until 11 a point of the result was taken from the data at its coordinate divided by the scale; the nearest one was the
 * one below where the scale was 1 or more, and the one above where it was less.
 */
export const resizeAsBefore: Rewrite = async (step) => {
  const { node } = step;
  const [x = "", scales = ""] = node.inputs;
  const nearest = (attributeOf(node, "mode", "string") ?? "nearest") === "nearest";
  const roi = step.numbers("roi", "float32", []);
  putString(node, "coordinate_transformation_mode", "asymmetric");
  node.inputs = [x, roi, scales];
  if (!nearest) return "as asymmetric";
  const known = await step.constant(scales);
  const [up, down] = [
    known?.some((scale) => scale > 1) ?? true,
    known?.some((scale) => scale < 1) ?? !upsamples.has(node),
  ];
  if (up && down) return growThenShrink(step, scales, roi);
  putString(node, "nearest_mode", down ? "ceil" : "floor");
  return "as asymmetric";
};

/** Axes are independent of each other where the nearest is taken: those that grow first, then those that shrink. */
function growThenShrink(step: Step, scales: string, roi: string): Done {
  const { node } = step;
  const one = step.numbers("one", "float32", [1]);
  const grow = step.insert("Max", [scales, one], "growing");
  const shrink = step.insert("Min", [scales, one], "shrinking");
  node.inputs = [node.inputs[0]!, roi, grow];
  putString(node, "nearest_mode", "floor");
  const attributes = [...node.attributes];
  step.append("Resize", (output) => [output, roi, shrink], "grown", attributes);
  putString(step.after[0]!, "nearest_mode", "ceil");
  return "as two, one for scales above 1 and one for those below";
}

/** In 13 what is not needed may be left out and must be, and a way to count coordinates was taken away. */
export const resizeOptions: Rewrite = (step) => {
  const { node } = step;
  const mode = attributeOf(node, "coordinate_transformation_mode", "string");
  const [x = "", roi = "", scales = "", sizes = ""] = node.inputs;
  const inputs = trimmed([x, mode === "tf_crop_and_resize" ? roi : "", sizes === "" ? scales : "", sizes]);
  const wasRead = node.inputs === node.origin?.was.inputs;
  const changed = inputs.join("\n") !== trimmed(node.inputs).join("\n");
  if (changed) node.inputs = inputs;
  if (mode === "tf_half_pixel_for_nn") return halfPixel(step);
  return changed && wasRead ? "without the inputs it does not need" : undefined;
};

/** Rounding down (x + 0.5) / scale is rounding that less a half to the nearest. */
function halfPixel(step: Step): Done {
  const { node } = step;
  const nearest = (attributeOf(node, "mode", "string") ?? "nearest") === "nearest";
  if (!nearest || attributeOf(node, "nearest_mode", "string") !== "floor") {
    step.refuse("tf_half_pixel_for_nn is gone, and nothing else is the same unless nearest_mode is floor");
  }
  putString(node, "coordinate_transformation_mode", "half_pixel");
  putString(node, "nearest_mode", "round_prefer_ceil");
  return "as half_pixel";
}

export const gridSampleMode: Rewrite = ({ node }) => {
  const mode = attributeOf(node, "mode", "string");
  if (mode !== "bilinear" && mode !== "bicubic") return undefined;
  const renamed = mode.slice(2);
  putString(node, "mode", renamed);
  return `mode ${renamed}`;
};

/** The default became another. */
export const roiAlignPixel: Rewrite = ({ node }) => {
  putString(node, "coordinate_transformation_mode", "output_half_pixel");
  return "as output_half_pixel";
};

/** Values for each group became values for each channel: each is repeated for the channels of its group. */
export const groupToChannels: Rewrite = (step) => {
  const { node } = step;
  const groups = attributeOf(node, "num_groups", "int");
  const [x = "", scale = "", bias = ""] = node.inputs;
  if (groups === undefined) return step.refuse("it has no num_groups");
  const channels = step.insert("Shape", [x], "channels", [
    makeAttribute("start", { kind: "int", value: 1 }),
    makeAttribute("end", { kind: "int", value: 2 }),
  ]);
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
