import { type ElementType, elementTypeOf } from "../../proto/schema.ts";
import { attributeOf, type Node } from "../graph.ts";
import { opNameOf } from "../operators.ts";

/** The types of a node's inputs. */
export type InputTypes = (input: number) => ElementType | undefined;

/** That of an input, one that is fixed, or what is found. */
type Rule = number | ElementType | ((node: Node, input: InputTypes) => ElementType | undefined);

const each = (names: string, ...rules: Rule[]) => names.split(" ").map((name) => [name, rules] as const);
const untold = () => undefined;

const named =
  (attribute: string, otherwise?: number | ElementType): Rule =>
  (node, input) => {
    const code = attributeOf(node, attribute, "int");
    if (code) return elementTypeOf(code);
    return typeof otherwise === "number" ? input(otherwise) : otherwise;
  };

/** The type that the input has which says it, where it is there. */
const said =
  (by: number, otherwise: Rule): Rule =>
  (node, input) =>
    node.inputs[by] ? input(by) : applied(otherwise, node, input);

/** The types of an op's outputs, the last for all that follow. Other ops mostly give what their first input is. */
const rules: ReadonlyMap<string, readonly Rule[]> = new Map<string, readonly Rule[]>([
  ...each("And Or Xor Not Equal Greater GreaterOrEqual Less LessOrEqual IsInf IsNaN OptionalHasElement", "bool"),
  ...each("RegexFullMatch", "bool"),
  ...each("ArgMax ArgMin Shape Size NonZero NonMaxSuppression SequenceLength", "int64"),
  ...each("MatMulInteger ConvInteger", "int32"),
  ...each("com.microsoft.MatMulInteger16 com.microsoft.MulInteger com.microsoft.ReduceSumInteger", "int32"),
  ...each("ImageDecoder", "uint8"),
  ...each("TfIdfVectorizer", "float32"),
  ...each("Where CastLike RMSNormalization com.microsoft.DequantizeLinear", 1),
  ...each("com.microsoft.QLinearConcat com.microsoft.QLinearWhere", 1),
  ...each("OneHot com.microsoft.GatherBlockQuantized com.microsoft.MatMulIntegerToFloat", 2),
  ...each("com.microsoft.QAttention", 3),
  ...each("com.microsoft.DynamicQuantizeLSTM com.microsoft.DynamicQuantizeMatMul", 0),
  ...each("QLinearConv QLinearMatMul com.microsoft.QLinearConv", 7),
  ...each("com.microsoft.QGemm", said(8, "float32")),
  ...each("DequantizeLinear", named("output_dtype", 1)),
  ...each("QuantizeLinear com.microsoft.QuantizeLinear", said(2, named("output_dtype", "uint8"))),
  ...each("DynamicQuantizeLinear", "uint8", "float32", "uint8"),
  ...each("MaxPool TopK Unique com.microsoft.Unique", 0, "int64"),
  ...each("StringSplit", 0, "int64"),
  ...each("Attention", 0, 0, 2, 0),
  ...each("LinearAttention", 0, said(3, 0)),
  ...each("BatchNormalization", 0, 3),
  ...each("LayerNormalization", 0, named("stash_type", "float32")),
  ...each("SimplifiedLayerNormalization", 0, "float32"),
  ...each(
    "com.microsoft.SkipLayerNormalization com.microsoft.SkipSimplifiedLayerNormalization",
    ...([0, "float32", "float32", 0] as const),
  ),
  ...each("com.microsoft.EmbedLayerNormalization", 2, "int32", 2),
  ...each("Cast BitCast", named("to")),
  ...each("EyeLike RandomNormalLike RandomUniformLike Bernoulli", named("dtype", 0)),
  ...each("RandomNormal RandomUniform", named("dtype", "float32")),
  ...each("Multinomial", named("dtype", "int32")),
  ...each("HannWindow HammingWindow BlackmanWindow MelWeightMatrix", named("output_datatype", "float32")),
  ...each("ConstantOfShape", (node) => {
    const value = attributeOf(node, "value", "tensor");
    return value ? value.type : "float32";
  }),
  ...each("Constant", constant),
  // A mask, which was no bool before opset 10: whoever takes it tells.
  ...each("Dropout", 0, untold),
  ...each("If Loop Scan", untold),
  // Sequences and what may be missing are no tensors, and tensors out of them are of a type that is not followed.
  ...each("SequenceAt SequenceConstruct SequenceEmpty SequenceErase SequenceInsert SequenceMap", untold),
  ...each("SplitToSequence ConcatFromSequence Optional OptionalGetElement", untold),
]);

function constant(node: Node): ElementType | undefined {
  const value = attributeOf(node, "value", "tensor");
  if (value) return value.type;
  for (const { name } of node.attributes) {
    if (name.startsWith("value_int")) return "int64";
    if (name.startsWith("value_float")) return "float32";
    if (name.startsWith("value_string")) return "string";
  }
  return undefined;
}

/** What tells the type of a node's output from those of its inputs; undefined for ops that nothing special is known of. */
export function outputRule(node: Node, output: number): ((input: InputTypes) => ElementType | undefined) | undefined {
  const own = rules.get(opNameOf(node));
  const rule = own?.[output] ?? own?.at(-1);
  return rule === undefined ? undefined : (input) => applied(rule, node, input);
}

function applied(rule: Rule, node: Node, input: InputTypes): ElementType | undefined {
  if (typeof rule === "number") return input(rule);
  return typeof rule === "function" ? rule(node, input) : rule;
}

const alike: ReadonlySet<string> = new Set([
  ...["Add", "BatchNormalization", "Concat", "Conv", "ConvTranspose", "Div", "Gemm", "LayerNormalization", "MatMul"],
  ...["Max", "Mean", "Min", "Mul", "PRelu", "Sub", "Sum"],
]);

/** Whether all inputs of a node are of one type. */
export function isOfOneType(node: Node): boolean {
  return alike.has(opNameOf(node));
}
