import type { Need } from "./needs.ts";
import { graph, model, node, value } from "./onnx-build.ts";
import { graphsIn } from "./onnx-read.ts";
import { tensor } from "./onnx-tensors.ts";
import { openNode, type runtimes, withSession } from "./sessions.ts";

// On x64 without VNNI onnxruntime-node adds up products of uint8 and int8 in int16, which saturates: whole codes do not fit.
// Models that rely on such products are then held against onnxruntime-web alone.

const FULL = { x: 255, w: 127, count: 4 };

async function isExact(): Promise<boolean> {
  const bytes = model({
    opsets: { "": 13 },
    graph: graph({
      nodes: [node("MatMulInteger", "x w", "y")],
      initializers: [tensor("w", "int8", [FULL.count, 1], new Array(FULL.count).fill(FULL.w))],
      inputs: [value("x", `uint8[1,${FULL.count}]`)],
      outputs: [value("y", "int32[1,1]")],
    }),
  });
  const x = { data: new Uint8Array(FULL.count).fill(FULL.x), dims: [1, FULL.count] };
  const { y } = await withSession(openNode(bytes), (session) => session.run({ x }));
  return (y!.data as Int32Array)[0] === FULL.x * FULL.w * FULL.count;
}

export const exactInt8Products: Need = {
  met: await isExact(),
  lack: "onnxruntime-node saturates sums of int8 products on this processor",
};

const integerOps = ["MatMulInteger", "ConvInteger", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM", "QAttention"];

/** The runtimes in which the model gives what its codes say. */
export function exactRuntimes(bytes: Uint8Array): readonly (keyof typeof runtimes)[] {
  return exactInt8Products.met || !multipliesInt8(bytes) ? ["node", "web"] : ["web"];
}

function multipliesInt8(bytes: Uint8Array): boolean {
  const graphs = graphsIn(bytes);
  const INT8 = 3;
  return (
    graphs.some(({ nodes }) => nodes.some(({ op }) => integerOps.includes(op))) &&
    graphs.some(({ initializers }) => initializers.some(({ typeCode }) => typeCode === INT8))
  );
}
