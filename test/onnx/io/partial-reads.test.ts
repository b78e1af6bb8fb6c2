import { describe, expect, it } from "vitest";
import { bytesOf } from "../../../src/engine/tensors/tensor.ts";
import { type ByteSource, bytesSource } from "../../../src/formats/byte-source.ts";
import { readModel } from "../../../src/onnx/io/decode.ts";
import { graph, model, node, value } from "../../helpers/onnx-build.ts";
import { graphsIn } from "../../helpers/onnx-read.ts";
import { type Storage, tensor } from "../../helpers/onnx-tensors.ts";

/** A source that counts the bytes that are read of it. */
function counting(bytes: Uint8Array): ByteSource & { read: () => number } {
  let read = 0;
  const source = bytesSource(bytes, "large.onnx");
  const slice = (start: number, end: number) => {
    read += end - start;
    return source.slice(start, end);
  };
  return { name: source.name, byteLength: bytes.length, slice, read: () => read } as never;
}

describe("the structure of a large file is read without its weights", () => {
  const megabytes = new Float32Array(1 << 20);
  const large = (name: string, store?: Storage["kind"]) =>
    tensor(name, "float32", [1024, 1024], store === "packed" ? megabytes : bytesOf(megabytes), store ? { store } : {});
  const around = (nodes: readonly Uint8Array[], initializers: readonly Uint8Array[]) =>
    model({
      opsets: { "": 13 },
      graph: graph({ nodes, initializers, inputs: [value("x", "float32")], outputs: [value("y", "float32")] }),
    });
  const body = graph({
    nodes: [node("MatMul", "x W2", "inner")],
    initializers: [large("W2")],
    outputs: [value("inner", "float32")],
  });

  it.each([
    ["raw_data", around([node("MatMul", "x W", "y")], [large("W")]), 1],
    ["float_data", around([node("MatMul", "x W", "y")], [large("W", "packed")]), 1],
    [
      "a Constant node",
      around([node("Constant", "", "W", { value: { tensor: large("") } }), node("MatMul", "x W", "y")], []),
      1,
    ],
    [
      "graphs within graphs",
      around(
        [node("If", "x", "y", { then_branch: { graph: body }, else_branch: { graph: body } })],
        [large("W"), large("V")],
      ),
      4,
    ],
  ] as const)("%s", async (_, bytes, weights) => {
    const source = counting(bytes);
    const read = await readModel(source);
    expect(read.graph.nodes.length).toBeGreaterThan(0);
    // A window of 64 KiB at the start and behind each weight.
    expect(source.read()).toBeLessThanOrEqual((weights + 1) * (1 << 16));
    expect(graphsIn(bytes).length).toBeGreaterThan(0);
  });
});
