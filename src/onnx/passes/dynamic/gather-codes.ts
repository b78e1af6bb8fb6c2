import { intAttribute, makeNode, type Node } from "../../ir/graph.ts";
import type { ElementType } from "../../proto/schema.ts";
import { gatherAxisOf } from "../../weights/find-weights.ts";
import type { SeenWeight } from "../weight-usage.ts";
import { narrowed, type Rewrite, type RewriteContext } from "./rewrite-context.ts";

/** Gather of a table's codes, uint8 as activations are: whoever takes them as codes needs no more. */
export const rewriteGather: Rewrite = ({ node, scope }, pass) => {
  const weight = pass.usages.weightAt(node, 0);
  const [output = ""] = node.outputs;
  if (!weight || output === "" || !isAsStored(weight)) return undefined;
  const { usage } = weight;
  const refused = pass.usages.refusal(node, usage);
  if (refused !== undefined) return refused;
  if (pass.tied.has(usage) && takesRows(node, weight)) {
    usage.take(node, 0);
    pass.edits.replace(node, pass.tied.gather(node, usage));
    return undefined;
  }
  const { range } = pass.options;
  const quantization = { dtype: "uint8", scheme: "asymmetric", reduceRange: false, granularity: {}, range } as const;
  const stored = pass.weights.plain(usage) ?? pass.weights.store(usage, { quantization });
  const codes = pass.names.fresh(`${output}_quantized`);
  usage.take(node, 0);
  const { scale, zeroPoint } = stored;
  const type = usage.constant.dtype;
  pass.activations.know(scope, { name: output, codes, scale, zeroPoint, by: node, type });
  pass.edits.replace(node, [{ ...node, inputs: [stored.codes, ...node.inputs.slice(1)], outputs: [codes] }]);
  return undefined;
};

/** Whether a node sees a constant as it is. */
function isAsStored({ usage, constant, isSwapped, type }: SeenWeight): boolean {
  return constant === usage.constant && !isSwapped && type === constant.dtype;
}

/** Whether a Gather takes rows of a table [N, K]. */
export function takesRows(node: Node, weight: SeenWeight): boolean {
  const isTable = isAsStored(weight) && weight.constant.tensor.shape.length === 2;
  return isTable && gatherAxisOf(node, 2) === 0 && Boolean(node.outputs[0]);
}

/** Transpose of what is codes. */
export const rewriteTranspose: Rewrite = ({ node, scope }, pass) => {
  const [input = ""] = node.inputs;
  const [output = ""] = node.outputs;
  const known = pass.activations.taken(scope, input, node);
  if (!known) return undefined;
  const codes = pass.names.fresh(`${output}_quantized`);
  pass.activations.know(scope, { ...known, name: output, codes, by: node });
  pass.edits.replace(node, [{ ...node, inputs: [known.codes], outputs: [codes] }]);
  return undefined;
};

/** Restores codes under a name. */
export function dequantize(
  name: string,
  { codes, scale, zeroPoint }: { codes: string; scale: string; zeroPoint: string },
  { type, axis }: { type: ElementType; axis?: number | undefined },
  { names }: Pick<RewriteContext, "names">,
): Node[] {
  const attributes = axis === undefined ? [] : [intAttribute("axis", axis)];
  const isNarrow = type !== "float32";
  const wide = isNarrow ? names.fresh(`${name}_float32`) : name;
  const nodes = [
    makeNode("DequantizeLinear", [codes, scale, zeroPoint], [wide], {
      name: names.fresh(`${name}_DequantizeLinear`),
      attributes,
    }),
  ];
  if (isNarrow) nodes.push(narrowed(wide, name, type, { names }));
  return nodes;
}
