import { bytesSource, createEngine, inspectModel, type Target, type TargetFinding } from "../../src/index.ts";
import { type AttributeSpec, graph, model, node, value } from "./onnx-build.ts";
import { tensor } from "./onnx-tensors.ts";
import { type Session, withSession } from "./sessions.ts";
import { type TypeName, typeCodes } from "./wire-fields.ts";

// Small models, each for an op that some runtime treats in a way of its own: the node in question is called n.
const engine = await createEngine();

export type Constant = readonly [name: string, type: TypeName, dims: readonly number[], fill?: number];

export interface Case {
  readonly nodes: readonly Uint8Array[];
  readonly constants?: readonly Constant[];
  readonly x?: string;
  readonly opset?: number;
  readonly domains?: Readonly<Record<string, number>>;
}

const small = (type: TypeName, dims: readonly number[]) => {
  const count = dims.reduce((a, b) => a * b, 1);
  return type === "int4" || type === "uint4" ? new Uint8Array(Math.ceil(count / 2)).fill(0x21) : undefined;
};

/** A model from x to y; constants hold one value all over. */
export function modelOf({
  nodes,
  constants = [],
  x = "float32[2,64]",
  opset = 21,
  domains = { "com.microsoft": 1 },
}: Case) {
  return model({
    ir: 10,
    opsets: { "": opset, ...domains },
    graph: graph({
      nodes,
      initializers: constants.map(([name, type, dims, fill = 1]) => {
        const count = dims.reduce((a, b) => a * b, 1);
        return tensor(name, type, dims, small(type, dims) ?? new Array<number>(count).fill(fill));
      }),
      inputs: [value("x", x)],
      outputs: [value("y", "float32")],
    }),
  });
}

export const ms = { domain: "com.microsoft" };
/** A QuantizeLinear of x, and its constants. */
export const quantize = (type: "int8" | "uint8") => ({
  nodes: [node("QuantizeLinear", "x xs xz", "xq")],
  constants: [["xs", "float32", [], 1] as const, ["xz", type, [], 0] as const],
});

export function integer(
  op: "MatMulInteger" | "ConvInteger",
  a: "int8" | "uint8",
  b: "int8" | "uint8",
  zeros: number[] = [],
): Case {
  const { nodes, constants } = quantize(a);
  const isConv = op === "ConvInteger";
  const shape = isConv ? [8, 4, 3, 3] : [64, 8];
  return {
    nodes: [...nodes, node(op, "xq w xz wz", "i", {}, { name: "n" }), node("Cast", "i", "y", { to: 1 })],
    constants: [...constants, ["w", b, shape], ["wz", b, zeros, 0]],
    x: isConv ? "float32[1,4,8,8]" : "float32[2,64]",
  };
}

interface NBits {
  readonly bits?: number;
  readonly block?: number;
  readonly zeros?: TypeName;
  readonly type?: "float32" | "float16";
}

export function nbits({ bits = 4, block = 32, zeros, type = "float32" }: NBits): Case {
  const blocks = 512 / block;
  const attributes = { K: 512, N: 8, bits, block_size: block };
  const dims = zeros === "uint8" ? [8, Math.ceil((blocks * bits) / 8)] : [8, blocks];
  const inside = node("MatMulNBits", `h w s${zeros ? " z" : ""}`, "i", attributes, { ...ms, name: "n" });
  const to = { to: typeCodes[type] };
  return {
    nodes: [node("Cast", "x", "h", to), inside, node("Cast", "i", "y", { to: 1 })],
    constants: [
      ["w", "uint8", [8, blocks, (block * bits) / 8]],
      ["s", type, [8, blocks], type === "float16" ? 0x2e66 : 0.1],
      ...(zeros ? [["z", zeros, dims, 8] as const] : []),
    ],
    x: "float32[2,512]",
  };
}

export function gather(data: TypeName, bits: number): Case {
  const width = data === "uint8" ? (128 * bits) / 8 : 128;
  const attributes = { gather_axis: 0, quantize_axis: 1, block_size: 32, bits };
  return {
    nodes: [
      node("Cast", "x", "i", { to: 7 }),
      node("GatherBlockQuantized", "w i s", "y", attributes, { ...ms, name: "n" }),
    ],
    constants: [
      ["w", data, [10, width]],
      ["s", "float32", [10, 4]],
    ],
  };
}

/** Codes behind a node that restores them, then a use of the float weight. */
export function restored(
  codes: TypeName,
  scale: number[],
  use: Uint8Array,
  shape: number[],
  rest: Partial<Case> = {},
  axis = 1,
): Case {
  const attributes: Record<string, AttributeSpec> = scale.length > 0 ? { axis } : {};
  if (scale.length > 1) attributes.block_size = shape[axis]! / scale[axis]!;
  return {
    nodes: [node("DequantizeLinear", "w s", "wf", attributes), use],
    constants: [
      ["w", codes, shape, 3],
      ["s", "float32", scale, 0.1],
    ],
    ...rest,
  };
}

export const matMul = node("MatMul", "x wf", "y", {}, { name: "n" });
export const conv = node("Conv", "x wf", "y", {}, { name: "n" });
export const image = { x: "float32[1,4,8,8]" };

export const unary = (op: string, attributes = {}, rest: Partial<Case> = {}): Case => ({
  nodes: [node(op, "x", "y", attributes, { name: "n" })],
  ...rest,
});
/** An op between two casts. */
export const typed = (op: string, type: TypeName, inputs = "c", constants: Case["constants"] = []): Case => ({
  nodes: [
    node("Cast", "x", "c", { to: typeCodes[type] }, { name: "first" }),
    node(op, inputs, "d", {}, { name: "n" }),
    node("Cast", "d", "y", { to: 1 }, { name: "last" }),
  ],
  constants,
});

export async function findings(target: Target, each: Case): Promise<readonly TargetFinding[]> {
  const inspection = await inspectModel(engine, bytesSource(modelOf(each), "m.onnx"), { target });
  return "findings" in inspection ? inspection.findings! : [];
}

/** What the current version does, as far as it is said. */
export const said = (all: readonly TargetFinding[]) => all.filter(({ upTo }) => upTo === undefined);

export async function runs(open: Promise<Session>): Promise<boolean> {
  try {
    return await withSession(open, async (session) => {
      const { name, shape } = session.inputs[0]!;
      const count = (shape as number[]).reduce((a, b) => a * b, 1);
      const data = Float32Array.from({ length: count }, (_, i) => (i % 7) * 0.3);
      await session.run({ [name]: { data, dims: shape as number[] } });
      return true;
    });
  } catch {
    return false;
  }
}
