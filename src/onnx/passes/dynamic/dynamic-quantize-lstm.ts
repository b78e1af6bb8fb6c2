import { attributeOf, makeNode, type Node } from "../../ir/graph.ts";
import { MICROSOFT } from "../../ir/operators.ts";
import type { WeightUsage } from "../weight-usage.ts";
import { asFloat32, type Rewrite, type RewriteContext } from "./rewrite-context.ts";

/** X, B, initial_h, initial_c, P: what has the weights' type. */
const floatInputs: readonly number[] = [0, 3, 5, 6, 7];

/**
 * LSTM as com.microsoft DynamicQuantizeLSTM: W and R as int8 whatever was asked for, their last two axes swapped; a scale
 * for each direction, per channel one for each row of each.
 */
export const rewriteLstm: Rewrite = ({ node, scope }, pass) => {
  const [, w, r] = [0, 1, 2].map((input) => pass.usages.find(scope, node.inputs[input]));
  if (!w || !r) return w || r ? "LSTM has a second weight that is not constant" : undefined;
  if (isRefused(node, w, r, pass)) return undefined;
  if (attributeOf(node, "layout", "int") === 1) return "LSTM with layout 1";
  const unfit = unfitWeight(w) ?? unfitWeight(r);
  if (unfit !== undefined) return unfit;
  const [storedW, storedR] = [store(w, pass), store(r, pass)];
  const around = asFloat32({ node, scope }, w, pass);
  const take = (input: number) => {
    const name = node.inputs[input] ?? "";
    return floatInputs.includes(input) ? around.take(name) : name;
  };
  const inputs = [
    ...[take(0), storedW.codes, storedR.codes, ...[3, 4, 5, 6, 7].map(take)],
    ...[storedW.scale, storedW.zeroPoint, storedR.scale, storedR.zeroPoint],
  ];
  w.take(node, 1);
  r.take(node, 2);
  pass.edits.need({ domain: MICROSOFT, opset: 1 });
  pass.edits.replace(node, [
    makeNode("DynamicQuantizeLSTM", inputs, around.outputs, {
      name: node.name === "" ? "" : pass.names.fresh(`${node.name}_quant`),
      domain: MICROSOFT,
      attributes: node.attributes.filter(({ name }) => name !== "layout"),
    }),
    ...around.casts,
  ]);
  return undefined;
};

/** Either weight as it is keeps the other. */
function isRefused(node: Node, w: WeightUsage, r: WeightUsage, { usages }: RewriteContext): boolean {
  const pairs = [
    { usage: w, other: r },
    { usage: r, other: w },
  ];
  const reasons = pairs.map(({ usage }) => usages.refusal(node, usage));
  for (const [i, { usage, other }] of pairs.entries()) {
    const reason = reasons[i];
    if (reason === undefined || reasons[1 - i] !== undefined) continue;
    other.reasons.add(`LSTM has a second weight, ${JSON.stringify(usage.constant.name)}, that is to stay: ${reason}`);
  }
  return reasons.some((reason) => reason !== undefined);
}

function unfitWeight({ constant: { tensor } }: WeightUsage): string | undefined {
  return tensor.shape.length === 3 ? undefined : `LSTM with a weight of rank ${tensor.shape.length}`;
}

function store(usage: WeightUsage, pass: RewriteContext) {
  const [directions = 0, rows = 0, columns = 0] = usage.constant.tensor.shape;
  const { perChannel, reduceRange, range } = pass.options;
  const axis = perChannel ? ([0, 1] as const) : 0;
  return pass.weights.store(usage, {
    quantization: { dtype: "int8", scheme: "symmetric", reduceRange, granularity: { axis }, range },
    shape: [directions, columns, rows],
    scaleShape: perChannel ? [directions, rows] : [directions],
    form: { swapsLast: true },
  });
}
