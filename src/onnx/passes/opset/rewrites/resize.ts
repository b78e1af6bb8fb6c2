import { attributeOf, makeAttribute, type Node } from "../../../ir/graph.ts";
import { type Done, dropAttributes, putAttribute, putString, type Rewrite, type Step, trimmed } from "../opset-step.ts";

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
