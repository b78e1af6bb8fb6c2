import { expect, it } from "vitest";
import {
  bytesSink,
  bytesSource,
  createEngine,
  FileError,
  type QuantizeModelOptions,
  quantizeModel,
} from "../../src/index.ts";
import { f32, safetensorsFile } from "../helpers/checkpoints.ts";
import { graph, model, node, value } from "../helpers/onnx-build.ts";
import { tensor } from "../helpers/onnx-tensors.ts";

// A disk that is full: the file is named, and the tensor that was being dealt with.

const engine = await createEngine();

const tensors = await safetensorsFile([f32("a", [2]), f32("b.weight", [64, 64], 2)]);
const onnx = model({
  opsets: { "": 17 },
  graph: graph({
    nodes: [node("MatMul", "x b.weight", "y")],
    initializers: [tensor("b.weight", "float32", [1024, 1024], [...f32("w", [1024, 1024]).values])],
    inputs: [value("x", "float32[n,1024]")],
    outputs: [value("y", "float32[n,1024]")],
  }),
});

/** Takes no more than `most` bytes. */
function narrowSink(most: number) {
  const { companion: _, ...sink } = bytesSink("out");
  let written = 0;
  const full = () => new FileError("out", "no space left on the disk");
  return {
    ...sink,
    async write(position: number, bytes: Uint8Array) {
      written += bytes.byteLength;
      if (written > most) throw full();
      return sink.write(position, bytes);
    },
  };
}

it.each<[string, Uint8Array, number, QuantizeModelOptions]>([
  ["m.safetensors", tensors, 1500, {}],
  ["m.safetensors", tensors, 1500, { dtype: "float16" }],
  ["m.onnx", onnx, 9000, {}],
])("%s %#", async (name, bytes, most, options) => {
  const done = quantizeModel(engine, bytesSource(bytes, name), narrowSink(most), options);
  await expect(done).rejects.toThrow(new FileError("out", 'no space left on the disk (at tensor "b.weight")'));
  await expect(done).rejects.toMatchObject({ tag: "file", file: "out" });
});
