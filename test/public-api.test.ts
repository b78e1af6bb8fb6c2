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
        "CodeDType",
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
        "Float16ArrayLike",
        "Float32Tensor",
        "FloatDType",
        "FloatName",
        "FloatTensor",
        "FormatName",
        "Granularity",
        "HalfTensor",
        "Inspection",
        "IntegerDType",
        "Layer",
        "LayerOptions",
        "LinearLayout",
        "LinearOptions",
        "ModelReport",
        "ModuleSource",
        "NonFinite",
        "NpyDType",
        "NpyHeader",
        "PerGroup",
        "Progress",
        "Prospects",
        "QuantizationError",
        "QuantizeModelOptions",
        "QuantizeOptions",
        "QuantizedLayer",
        "QuantizedTensor",
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
      ]
    `);
  });
});
