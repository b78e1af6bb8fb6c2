import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import * as main from "../src/index.ts";
import * as node from "../src/node.ts";

describe("what the package exports", () => {
  it("from wasm-quant", () => {
    expect(Object.keys(main).sort()).toMatchInlineSnapshot(`
      [
        "ArgumentError",
        "FileError",
        "FormatError",
        "MemoryError",
        "NonFiniteError",
        "WasmQuantError",
        "bytesSink",
        "bytesSource",
        "compareModels",
        "compileKernels",
        "createEngine",
        "dequantizeModel",
        "inspectModel",
        "isResident",
        "isWasmQuantError",
        "quantizeConv",
        "quantizeLinear",
        "quantizeModel",
        "readNpyHeader",
        "readSafetensorsHeader",
        "writeNpy",
        "writeSafetensors",
      ]
    `);
  });
  it("from wasm-quant/node", () => {
    expect(Object.keys(node).sort()).toMatchInlineSnapshot(`
      [
        "createFile",
        "onnxRuntimeNode",
        "openFile",
        "removeUnfinished",
      ]
    `);
  });
  it("types too", () => {
    const text = readFileSync("src/index.ts", "utf8");
    const blocks = [...text.matchAll(/export (?:type )?\{([^}]*)\}/g)].flatMap((match) => match[1]!.split(","));
    const names = blocks.map((name) => name.trim().replace(/^type /, "")).filter((name) => name !== "");
    const types = names.filter((name) => !(name in main));
    expect(types.sort()).toMatchInlineSnapshot(`
      [
        "ArrayOf",
        "Axis",
        "BiasDType",
        "BiasOptions",
        "ByteSink",
        "ByteSource",
        "BytesSink",
        "CodeDType",
        "Companion",
        "CompareModelsOptions",
        "ConvLayout",
        "ConvOptions",
        "DType",
        "DequantizeModelOptions",
        "DequantizeOptions",
        "DequantizedTensor",
        "Engine",
        "EngineOptions",
        "Entry as QuantizedEntry",
        "ErrorTag",
        "ExactComparison",
        "Feed",
        "Feeds",
        "FileFormat",
        "Float16ArrayLike",
        "Float32Tensor",
        "FloatComparison",
        "FloatDType",
        "FloatName",
        "FloatTensor",
        "FormatName",
        "Granularity",
        "HalfTensor",
        "Incomparable",
        "Inspection",
        "IntegerDType",
        "Layer",
        "LayerOptions",
        "LinearLayout",
        "LinearOptions",
        "ModelComparison",
        "ModelInspection",
        "ModelReport",
        "ModelRuntime",
        "ModelSession",
        "ModuleSource",
        "NamedOutput",
        "NonFinite",
        "NpyDType",
        "NpyHeader",
        "OnnxOptions",
        "OtherShape",
        "OutputComparison",
        "PerGroup",
        "Progress",
        "Prospects",
        "QuantizationError",
        "QuantizeModelOptions",
        "QuantizeOptions",
        "QuantizedLayer",
        "QuantizedTensor",
        "QuantizedWeight",
        "Range",
        "RangeOptions",
        "ResidentLayer",
        "ResidentQuantizedLayer",
        "ResidentQuantizedTensor",
        "ResidentTensor",
        "SafetensorsDType",
        "SafetensorsHeader",
        "SafetensorsItem",
        "SafetensorsTensor",
        "SchemeName",
        "TaskOptions",
        "TensorInspection",
        "TensorReport",
        "ValueDType",
        "ValueInspection",
        "ValueSpec",
        "WeightComparison",
        "WeightForm",
        "WeightInspection",
        "WeightProspects",
        "WeightsComparison",
      ]
    `);
  });
});
