import { beforeAll, describe, expect, it } from "vitest";
import {
  type CodeDType,
  codeTypes,
  type FloatDType,
  floatTypes,
  type IntegerDType,
  integerTypes,
} from "../../src/dtypes.ts";
import { createEngine, type Engine } from "../../src/engine/engine.ts";
import type { Granularity } from "../../src/engine/tensors/granularity.ts";
import { sharedData, skipSuiteWithout } from "../helpers/needs.ts";
import type { OnnxTensor } from "../helpers/onnx.ts";
import { arrayOf, codesOf, differenceOf, floatsOf, isEngineType } from "../helpers/onnx-values.ts";
import { dataFile, dataFiles, readVector, type Vector, vectorNames } from "../helpers/onnx-vectors.ts";

// ONNX's own cases for the three operators that the engine's number contract is made of.

const names = vectorNames(/^test_(de|dynamic)?quantizelinear/);
const expanded = names.filter((name) => name.endsWith("_expanded"));
const vectors = names.filter((name) => !expanded.includes(name)).map(readVector);
const isOurs = ({ types }: Vector) => [...types].every(isEngineType);

let engines: Engine[];
beforeAll(async () => {
  engines = [await createEngine({ kernels: "simd" }), await createEngine({ kernels: "scalar" })];
});

describe("the ONNX node vectors", () => {
  skipSuiteWithout(sharedData.nodeVectors);

  it("are all run, but for those of types the engine does not have", () => {
    const leftOut = vectors.filter((vector) => !isOurs(vector));
    const reasons = leftOut.map(({ name, types }) => [name, [...types].filter((type) => !isEngineType(type)).join()]);
    expect(Object.fromEntries(reasons)).toEqual({
      test_dequantizelinear_e4m3fn: "float8e4m3fn",
      test_dequantizelinear_e4m3fn_float16: "float8e4m3fn",
      test_dequantizelinear_e4m3fn_zero_point: "float8e4m3fn",
      test_dequantizelinear_e5m2: "float8e5m2",
      test_dequantizelinear_float4e2m1: "float4e2m1",
      test_dequantizelinear_int2: "int2",
      test_dequantizelinear_uint2: "uint2",
      test_quantizelinear_e4m3fn: "float8e4m3fn",
      test_quantizelinear_e5m2: "float8e5m2",
      test_quantizelinear_float4e2m1: "float4e2m1",
      test_quantizelinear_int2: "int2",
      test_quantizelinear_uint2: "uint2",
    });
    expect(vectors.length - leftOut.length).toBeGreaterThanOrEqual(18);
  });

  it("that are expanded into simpler operators hold the data of those that are not, byte for byte", () => {
    expect(expanded.length).toBeGreaterThan(0);
    for (const name of expanded) {
      const whole = name.replace(/_expanded$/, "");
      expect(dataFiles(name), name).toEqual(dataFiles(whole));
      for (const file of dataFiles(name)) {
        expect(differenceOf(dataFile(name, file), dataFile(whole, file)), `${name} ${file}`).toBeUndefined();
      }
    }
  });

  it.each(vectors.filter(isOurs).map((vector) => [vector.name, vector] as const))("%s", (_, vector) => {
    for (const engine of engines) {
      const found = operators[vector.node.op]!(engine, vector);
      expect(found.length).toBe(vector.outputs.length);
      vector.outputs.forEach((output, i) => {
        expect(differenceOf(found[i]!, output.bytes), `${engine.kernels}: ${output.name}`).toBeUndefined();
      });
    }
  });
});

type Operator = (engine: Engine, vector: Vector) => ArrayBufferView[];

const operators: Record<string, Operator> = {
  QuantizeLinear(engine, { node, inputs, outputs }) {
    const [x, scale, zero] = inputs;
    const dtype = typeAmong(codeTypes, outputs[0]!);
    const parameters = { scale: floatsOf(scale!), ...(zero && { zeroPoint: codesOf(zero) }) };
    const { data } = engine.quantize(floatTensor(x!), { dtype, ...parameters, ...granularityOf(node, scale!) });
    return [data];
  },
  DequantizeLinear(engine, { node, inputs, outputs }) {
    const [x, scale, zero] = inputs;
    const dtype: IntegerDType = typeAmong(integerTypes, x!);
    const scales = floatsOf(scale!);
    const q = {
      dtype,
      shape: x!.shape,
      data: arrayOf(x!, dtype),
      scale: scales,
      zeroPoint: zero ? codesOf(zero) : new Int32Array(scales.length),
      ...granularityOf(node, scale!),
      scheme: "asymmetric",
    } as const;
    return [engine.dequantize(q, { dtype: typeAmong(floatTypes, outputs[0]!) }).data];
  },
  DynamicQuantizeLinear(engine, { node, inputs }) {
    expect(node.attributes).toEqual({});
    const q = engine.quantize(floatTensor(inputs[0]!), { dtype: "uint8", scheme: "dynamic" });
    return [q.data, q.scale, Uint8Array.from(q.zeroPoint)];
  },
};

/** An axis means nothing where the scale is a scalar, and is 1 if not said. */
function granularityOf({ attributes }: Vector["node"], scale: OnnxTensor): Granularity {
  const { axis = 1, block_size: blockSize = 0, output_dtype: _, ...unknown } = attributes;
  expect(unknown, "attributes nobody looks at").toEqual({});
  if (scale.shape.length === 0) return {};
  return blockSize > 0 ? { axis, blockSize } : { axis };
}

function floatTensor(tensor: OnnxTensor) {
  const dtype: FloatDType = typeAmong(floatTypes, tensor);
  const { shape } = tensor;
  return dtype === "float32" ? { shape, data: arrayOf(tensor, dtype) } : { dtype, shape, data: arrayOf(tensor, dtype) };
}

function typeAmong<D extends CodeDType | IntegerDType | FloatDType>(
  table: Record<D, object>,
  { name, type }: OnnxTensor,
): D {
  if (type in table) return type as D;
  throw new Error(`${name} is ${type}, which does not belong there`);
}
