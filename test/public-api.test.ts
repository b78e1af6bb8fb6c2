import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import * as browser from "../src/browser.ts";
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
        "UnchangedError",
        "WasmQuantError",
        "WorkerError",
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
        "quantizeForTransformers",
        "quantizeLinear",
        "quantizeModel",
        "readNpyHeader",
        "readSafetensorsHeader",
        "variants",
        "writeNpy",
        "writeSafetensors",
      ]
    `);
  });
  it("from wasm-quant/node", () => {
    expect(Object.keys(node).sort()).toMatchInlineSnapshot(`
      [
        "createFile",
        "createWorkerPool",
        "onnxRuntimeNode",
        "openFile",
        "removeUnfinished",
      ]
    `);
  });
  it("from wasm-quant/browser", () => {
    expect(Object.keys(browser).sort()).toMatchInlineSnapshot(`
      [
        "blobSink",
        "createOpfsFile",
        "createWorkerPool",
        "openBlob",
        "openOpfs",
        "sinkOfHandle",
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
        "Algorithm",
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
        "Format",
        "FormatName",
        "Granularity",
        "HalfDType",
        "HalfTensor",
        "Incomparable",
        "InspectOptions",
        "Inspection",
        "IntegerDType",
        "Layer",
        "LayerOptions",
        "Layout as CheckpointLayout",
        "LinearLayout",
        "LinearOptions",
        "Mode",
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
        "Severity",
        "SkippedVariant",
        "Target",
        "TargetFinding",
        "TaskOptions",
        "TensorInspection",
        "TensorReport",
        "TransformersOptions",
        "TransformersReport",
        "ValueDType",
        "ValueInspection",
        "ValueSpec",
        "Variant",
        "VariantReport",
        "Verdict",
        "WeightComparison",
        "WeightForm",
        "WeightInspection",
        "WeightProspects",
        "WeightsComparison",
        "Workers",
      ]
    `);
  });
});
