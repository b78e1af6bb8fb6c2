import { makeNode } from "../../ir/graph.ts";
import { MICROSOFT } from "../../ir/operators.ts";
import { asFloat32, isFloat32, quantizationOf, type Rewrite } from "./rewrite-context.ts";

/** Attributes that QAttention has, too, and that mean something to it. */
const known: ReadonlySet<string> = new Set([
  ...["num_heads", "unidirectional", "past_present_share_buffer", "mask_filter_value", "scale"],
]);

/** Inputs that QAttention has no place for: from attention_bias on. */
const FIRST_UNKNOWN = 5;

/** com.microsoft Attention as QAttention: input and weight as codes, the rest as before. */
export const rewriteAttention: Rewrite = ({ node, scope }, pass) => {
  const [x = "", w, bias = "", mask = "", past = ""] = node.inputs;
  const usage = pass.usages.find(scope, w);
  if (!usage) return undefined;
  const refused = pass.usages.refusal(node, usage) ?? unfit();
  if (refused !== undefined) return refused;
  const { options, names } = pass;
  const stored = pass.weights.store(usage, {
    quantization: quantizationOf(options, options.perChannel ? 1 : undefined),
  });
  const a = pass.activations.quantized(scope, x, isFloat32(usage), node);
  const { take, outputs, casts } = asFloat32({ node, scope }, usage, pass);
  usage.take(node, 1);
  pass.edits.need({ domain: MICROSOFT, opset: 1 });
  pass.edits.replace(node, [
    makeNode(
      "QAttention",
      [a.codes, stored.codes, take(bias), a.scale, stored.scale, mask, a.zeroPoint, stored.zeroPoint, take(past)],
      outputs,
      {
        name: node.name === "" ? "" : names.fresh(`${node.name}_quant`),
        domain: MICROSOFT,
        attributes: node.attributes,
      },
    ),
    ...casts,
  ]);
  return undefined;

  function unfit(): string | undefined {
    const unknown = node.attributes.find(({ name }) => !known.has(name));
    if (unknown) return `Attention with ${unknown.name}, which QAttention has not`;
    if (bias === "") return "Attention without a bias, which QAttention wants";
    return node.inputs.slice(FIRST_UNKNOWN).some((name) => name !== "")
      ? "Attention with more inputs than QAttention has"
      : undefined;
  }
};
