import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { sharedData } from "./needs.ts";
import { type ElementType, type OnnxNode, type OnnxTensor, readModel, readTensor } from "./onnx.ts";

const { path: folder, met: haveVectors } = sharedData.nodeVectors;
const dataSet = "test_data_set_0";

/** A case of ONNX's own node tests: one node, its inputs in the node's order, and the outputs it must give. */
export interface Vector {
  readonly name: string;
  readonly node: OnnxNode;
  readonly inputs: readonly (OnnxTensor | undefined)[];
  readonly outputs: readonly OnnxTensor[];
  readonly types: ReadonlySet<ElementType>;
}

export function vectorNames(pattern: RegExp): string[] {
  return haveVectors ? readdirSync(folder).filter((name) => pattern.test(name)) : [];
}

export function readVector(name: string): Vector {
  const model = readModel(readFileSync(join(folder, name, "model.onnx")));
  const [node, ...more] = model.nodes;
  if (!node || more.length > 0) throw new Error(`${name} is not a model of one node`);
  const data = (kind: "input" | "output", i: number) => readTensor(dataFile(name, `${kind}_${i}.pb`));
  const given = new Map(model.inputs.map((value, i) => [value.name, data("input", i)]));
  const inputs = node.inputs.map((input) => given.get(input));
  if (node.inputs.some((input) => input !== "" && !given.has(input))) throw new Error(`${name} lacks an input`);
  const outputs = model.outputs.map((_, i) => data("output", i));
  const types = new Set([...model.inputs, ...model.outputs].map((value) => value.type));
  return { name, node, inputs, outputs, types };
}

/** The files of a case's data set, by name. */
export function dataFiles(name: string): string[] {
  return readdirSync(join(folder, name, dataSet)).sort();
}

export function dataFile(name: string, file: string): Uint8Array {
  return readFileSync(join(folder, name, dataSet, file));
}
