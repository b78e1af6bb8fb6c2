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
      ]
    `);
  });
  it("types too", () => {
    const text = readFileSync("src/index.ts", "utf8");
    const types = [...text.matchAll(/type (\w+)/g)].map((match) => match[1]!);
    expect([...new Set(types)].sort()).toMatchInlineSnapshot(`
      [
        "BiasOptions",
        "ByteSink",
        "ByteSource",
        "ConvLayout",
        "ConvOptions",
        "DequantizeOptions",
        "Engine",
        "EngineOptions",
        "ErrorTag",
        "LinearLayout",
        "ModuleSource",
        "NpyDType",
        "NpyHeader",
        "QuantizeModelOptions",
        "SafetensorsDType",
        "SafetensorsHeader",
        "SafetensorsItem",
        "SafetensorsTensor",
      ]
    `);
  });
});
