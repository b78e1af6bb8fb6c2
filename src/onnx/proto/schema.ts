/**
 * The parts of onnx.proto that this engine knows: field numbers, and what to do with a long field while a file's
 * structure is read. Fields that are not listed are copied as they lie.
 */
export const modelField = { irVersion: 1, graph: 7, opsetImport: 8, trainingInfo: 20, functions: 25 } as const;
export const opsetField = { domain: 1, version: 2 } as const;
export const graphField = {
  node: 1,
  name: 2,
  initializer: 5,
  input: 11,
  output: 12,
  valueInfo: 13,
  sparseInitializer: 15,
} as const;
export const nodeField = { input: 1, output: 2, name: 3, opType: 4, attribute: 5, domain: 7, overload: 8 } as const;
export const attributeField = {
  name: 1,
  f: 2,
  i: 3,
  s: 4,
  t: 5,
  g: 6,
  floats: 7,
  ints: 8,
  tensors: 10,
  graphs: 11,
  type: 20,
  refAttrName: 21,
  sparseTensor: 22,
  sparseTensors: 23,
} as const;
export const tensorField = {
  dims: 1,
  dataType: 2,
  segment: 3,
  floatData: 4,
  int32Data: 5,
  stringData: 6,
  int64Data: 7,
  name: 8,
  rawData: 9,
  doubleData: 10,
  uint64Data: 11,
  externalData: 13,
  dataLocation: 14,
} as const;
export const sparseField = { values: 1, indices: 2 } as const;
export const entryField = { key: 1, value: 2 } as const;
export const valueInfoField = { name: 1, type: 2 } as const;
export const typeField = { tensor: 1 } as const;
export const tensorTypeField = { elementType: 1, shape: 2 } as const;
export const shapeField = { dim: 1 } as const;
export const dimensionField = { value: 1, parameter: 2 } as const;
export const functionField = {
  name: 1,
  input: 4,
  output: 5,
  node: 7,
  opsetImport: 9,
  domain: 10,
  attributeDefault: 11,
  overload: 13,
} as const;

/** AttributeProto.AttributeType. */
export const attributeType = { float: 1, int: 2, string: 3, tensor: 4, graph: 5, floats: 6, ints: 7 } as const;

/** TensorProto.DataLocation. */
export const EXTERNAL = 1;

/** TensorProto.DataType: number, the name it goes by here, bits of an element (undefined: not of a fixed width). */
const dataTypes = [
  [1, "float32", 32],
  [2, "uint8", 8],
  [3, "int8", 8],
  [4, "uint16", 16],
  [5, "int16", 16],
  [6, "int32", 32],
  [7, "int64", 64],
  [8, "string", undefined],
  [9, "bool", 8],
  [10, "float16", 16],
  [11, "float64", 64],
  [12, "uint32", 32],
  [13, "uint64", 64],
  [14, "complex64", 64],
  [15, "complex128", 128],
  [16, "bfloat16", 16],
  [17, "float8e4m3fn", 8],
  [18, "float8e4m3fnuz", 8],
  [19, "float8e5m2", 8],
  [20, "float8e5m2fnuz", 8],
  [21, "uint4", 4],
  [22, "int4", 4],
  [23, "float4e2m1", 4],
  [24, "float8e8m0", 8],
  [25, "uint2", 2],
  [26, "int2", 2],
] as const;

export type ElementType = (typeof dataTypes)[number][1];

/** Of types yet to come the number is all that is known. */
export function elementTypeOf(code: number): ElementType | undefined {
  return dataTypes.find(([number]) => number === code)?.[1];
}

/** What messages and reports call the type of a tensor. */
export function typeNameOf({
  type,
  typeCode,
}: {
  readonly type: ElementType | undefined;
  readonly typeCode: number;
}): string {
  return type ?? `data type ${typeCode}`;
}

export function codeOf(type: ElementType): number {
  return dataTypes.find(([, name]) => name === type)![0];
}

export function bitsOf(type: ElementType | undefined): number | undefined {
  return dataTypes.find(([, name]) => name === type)?.[2];
}

/** What a long field is to whoever reads a file's structure: a message to look into, or bytes that are wanted. */
type LongField = MessageType | "keep";
export type MessageType = "model" | "graph" | "node" | "attribute" | "tensor" | "sparse" | "function";

/** Fields whose bytes are wanted. */
function kept(...numbers: readonly number[]): Record<number, LongField> {
  return Object.fromEntries(numbers.map((number) => [number, "keep"]));
}

/** Long fields that are not listed (tensors' data, documentation, what is unknown) stay where they lie. */
export const longFields: Readonly<Record<MessageType, Readonly<Record<number, LongField>>>> = {
  model: {
    ...kept(modelField.opsetImport),
    ...{ [modelField.graph]: "graph", [modelField.functions]: "function" },
  },
  graph: {
    ...kept(graphField.name, graphField.input, graphField.output, graphField.valueInfo),
    ...{ [graphField.node]: "node", [graphField.initializer]: "tensor", [graphField.sparseInitializer]: "sparse" },
  },
  node: {
    ...kept(nodeField.input, nodeField.output, nodeField.name, nodeField.opType, nodeField.domain, nodeField.overload),
    [nodeField.attribute]: "attribute",
  },
  attribute: {
    ...kept(attributeField.name, attributeField.floats, attributeField.ints, attributeField.refAttrName),
    ...{ [attributeField.t]: "tensor", [attributeField.tensors]: "tensor" },
    ...{ [attributeField.g]: "graph", [attributeField.graphs]: "graph" },
    ...{ [attributeField.sparseTensor]: "sparse", [attributeField.sparseTensors]: "sparse" },
  },
  tensor: kept(tensorField.dims, tensorField.name, tensorField.externalData),
  sparse: { [sparseField.values]: "tensor", [sparseField.indices]: "tensor" },
  function: {
    ...kept(functionField.name, functionField.domain, functionField.overload),
    ...kept(functionField.input, functionField.output, functionField.opsetImport),
    ...{ [functionField.node]: "node", [functionField.attributeDefault]: "attribute" },
  },
};
