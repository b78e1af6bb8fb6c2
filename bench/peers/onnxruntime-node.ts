import * as runtime from "onnxruntime-node";
import { type OnnxRuntime, onnxRuntime } from "./onnxruntime.ts";

export const peer = onnxRuntime(
  { name: "onnxruntime-node", note: "range by ReduceMin and ReduceMax, as ONNX has no operator for both" },
  runtime as unknown as OnnxRuntime,
  "cpu",
  true,
);
