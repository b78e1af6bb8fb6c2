import { describe, expect, it } from "vitest";
import { NEWEST_OPSET } from "../../../../src/onnx/passes/opset/operator-versions.ts";
import { type ModelSpec, type NodeSpec, node, raised } from "../../../helpers/opset-models.ts";

const relu = (name: string) => node("Relu", "x", "y", {}, { name });

function specOf(opset: number, nodes: readonly NodeSpec[], more: Partial<ModelSpec> = {}): ModelSpec {
  return { opset, nodes, inputs: { x: "float32[1,2,3]" }, outputs: { y: "float32" }, ...more };
}

async function refusal(spec: ModelSpec, target: number): Promise<string> {
  const error: unknown = await raised(spec, target).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toMatchObject({ tag: "format", file: "model.onnx" });
  return (error as Error).message;
}

describe("refusals", () => {
  const cases: readonly (readonly [string, ModelSpec, number, string])[] = [
    [
      "lowering",
      specOf(17, [relu("r")]),
      13,
      "is of opset 17, and opsets are only raised; take that or a higher one (opset: 17)",
    ],
    [
      "an operator that was never released",
      specOf(6, [node("BoxScaler", "x", "y", {}, { name: "scale" })]),
      11,
      `BoxScaler "scale" is not an operator of ONNX up to opset ${NEWEST_OPSET}; leave the model at opset 6`,
    ],
    [
      "an operator of a later opset",
      specOf(9, [node("Celu", "x", "y", {}, { name: "c" })]),
      13,
      'Celu "c" came with opset 12, and the model says it is of opset 9; leave the model at opset 9',
    ],
    [
      "a broadcast along an axis, of shapes that are not known",
      specOf(6, [node("Add", "x b", "y", { broadcast: 1, axis: 1 }, { name: "add" })], {
        ir: 3,
        inputs: { x: "float32", b: "float32" },
      }),
      9,
      'Add "add" cannot be raised to opset 7: it broadcasts along axis 1, and the file does not tell its inputs\' shapes; leave the model at opset 6',
    ],
    [
      "training",
      specOf(6, [node("Dropout", "x", "y", {}, { name: "drop" })], { ir: 3 }),
      9,
      'Dropout "drop" cannot be raised to opset 7: it is set to train: its is_test is 0; leave the model at opset 6',
    ],
    [
      "statistics that are not spatial",
      specOf(7, [node("BatchNormalization", "x s s s s", "y", { spatial: 0 }, { name: "bn" })], {
        inputs: { x: "float32", s: "float32" },
      }),
      13,
      'BatchNormalization "bn" cannot be raised to opset 9: its spatial is 0, which is gone; raise no further (opset: 8)',
    ],
    [
      "the outputs of training",
      specOf(9, [node("BatchNormalization", "x s s s s", "y m v", {}, { name: "bn" })], {
        inputs: { x: "float32", s: "float32" },
      }),
      17,
      'BatchNormalization "bn" cannot be raised to opset 14: it has the outputs of training; raise no further (opset: 13)',
    ],
    [
      "a mask that is used",
      specOf(7, [node("Dropout", "x", "y mask", {}, { name: "drop" })], { outputs: { y: "float32", mask: "float32" } }),
      13,
      'Dropout "drop" cannot be raised to opset 10: its mask "mask" is used, and is of another type from there on; raise no further (opset: 9)',
    ],
    [
      "a bound of a type that is not known",
      specOf(
        9,
        [
          node("Mystery", "x", "m", {}, { domain: "my.own" }),
          node("Clip", "m", "y", { min: { float: 0 } }, { name: "clip" }),
        ],
        {
          domains: { "my.own": 1 },
        },
      ),
      13,
      'Clip "clip" cannot be raised to opset 11: its data "m" is of a type the file does not tell; raise no further (opset: 10)',
    ],
    [
      "a batch of sequences",
      specOf(8, [node("Scan", "- x x", "y", { num_scan_inputs: 1 }, { name: "scan" })], {
        inputs: { x: "float32[2,4,3]" },
      }),
      11,
      'Scan "scan" cannot be raised to opset 9: it runs over a batch, which the file does not say to be 1; leave the model at opset 8',
    ],
    [
      "TensorFlow's coordinates, but for rounding down",
      specOf(
        11,
        [node("Resize", "x r s", "y", { coordinate_transformation_mode: "tf_half_pixel_for_nn" }, { name: "up" })],
        {
          inputs: { x: "float32", r: "float32", s: "float32" },
        },
      ),
      13,
      'Resize "up" cannot be raised to opset 13: tf_half_pixel_for_nn is gone, and nothing else is the same unless nearest_mode is floor; raise no further (opset: 12)',
    ],
    [
      "the error function of integers",
      specOf(9, [node("Erf", "x", "y", {}, { name: "erf" })], { inputs: { x: "int32[2]" } }),
      13,
      'Erf "erf" cannot be raised to opset 13: its data is int32, which it does not take from there on; raise no further (opset: 12)',
    ],
    [
      "a norm that is no whole number",
      specOf(1, [node("GlobalLpPool", "x", "y", { p: { float: 2.5 } }, { name: "pool" })], { ir: 3 }),
      7,
      'GlobalLpPool "pool" cannot be raised to opset 2: its p is 2.5, which is no whole number; leave the model at opset 1',
    ],
    [
      "a sequence that was not to be given",
      specOf(6, [node("LSTM", "x x x", "y", {}, { name: "lstm" })], { ir: 3 }),
      7,
      'LSTM "lstm" cannot be raised to opset 7: "y" is used, but output_sequence is 0; leave the model at opset 6',
    ],
    [
      "what is older than ONNX 1.0",
      specOf(1, [relu("r")], { ir: 2 }),
      9,
      "is of IR version 2, from before ONNX 1.0; convert it with ONNX 1.x first",
    ],
  ];

  it.each(cases)("%s", async (_, spec, target, message) => {
    expect(await refusal(spec, target)).toBe(`model.onnx: ${message}`);
  });

  it("opsets that there are none of", async () => {
    for (const target of [0, 9.5, NEWEST_OPSET + 1]) {
      await expect(raised(specOf(9, [relu("r")]), target)).rejects.toMatchObject({
        tag: "argument",
        argument: "opset",
      });
    }
  });
});
