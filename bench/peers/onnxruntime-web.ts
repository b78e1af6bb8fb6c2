import * as runtime from "onnxruntime-web";
import { type OnnxRuntime, onnxRuntime } from "./onnxruntime.ts";

runtime.env.wasm.numThreads = 1;

export const peer = onnxRuntime(
  {
    name: "onnxruntime-web",
    note: "wasm, one thread; copies its input onto its heap each time, and writes into no output that it is given on the CPU",
  },
  runtime as unknown as OnnxRuntime,
  "wasm",
  false,
);
