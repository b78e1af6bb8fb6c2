import { attributeOf, intAttribute } from "../../../ir/graph.ts";
import { hasAttribute, putInt, type Rewrite } from "../opset-step.ts";
import type { Shape } from "../shape-inference.ts";

/**
 * Until 13 the dimensions from the axis on were taken as one; from then on it is the axis alone. Where all but one of them
 * are 1 that is the same, else the data has to be made flat.
 */
export const softmaxAxis: Rewrite = (step) => {
  const { node } = step;
  const [x = ""] = node.inputs;
  const axis = attributeOf(node, "axis", "int") ?? 1;
  if (axis === -1) return undefined;
  const shape = step.shape(x);
  const only = shape && onlyAxis(shape, axis);
  if (only !== undefined) {
    const meant = hasAttribute(node, "axis") ? axis : -1;
    if (only === meant || only === meant + shape!.length) return undefined;
    const said = only === shape!.length - 1 ? -1 : only;
    putInt(node, "axis", said);
    return `axis ${said} said`;
  }
  const flat = step.insert("Flatten", [x], "flat", [intAttribute("axis", axis)]);
  const dims = step.insert("Shape", [x], "shape");
  node.inputs = [flat];
  putInt(node, "axis", -1);
  step.append("Reshape", (output) => [output, dims], "of_flat");
  return "through Flatten and Reshape";
};

/** The one axis from `axis` on that is not of length 1; undefined where that cannot be told, or there are more. */
function onlyAxis(shape: Shape, axis: number): number | undefined {
  const first = axis < 0 ? axis + shape.length : axis;
  const long = shape.flatMap((length, i) => (i >= first && length !== 1 ? [i] : []));
  if (long.length > 1 || first < 0 || first >= shape.length) return undefined;
  return long[0] ?? shape.length - 1;
}
