import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { BinaryReader } from "@bufbuild/protobuf/wire";
import { type ByteSource, bytesSource } from "../../src/formats/byte-source.ts";
import { type Need, sharedData } from "./needs.ts";

// Whole models, by their files' names without the ending: some come with the repository or an npm package, more lie in
// ../shared for those who have it.

const root = resolve(import.meta.dirname, "../..");
const vad = "node_modules/@ricky0123/vad-web/dist";

const carried: Readonly<Record<string, string>> = {
  digits: "example/digits.onnx",
  silero_vad_legacy: `${vad}/silero_vad_legacy.onnx`,
  silero_vad_v5: `${vad}/silero_vad_v5.onnx`,
  tiny_residual: "test/fixtures/models/tiny_residual.onnx",
  tiny_transformer: "test/fixtures/models/tiny_transformer.onnx",
};

/** Models in ../shared that tests count on. */
const beside = [
  ...["cifar10_small", "cifar10_small_op17", "dtln_1", "dtln_2", "mnist_cnn", "mnist_cnn_op17", "mnist_mlp_256x2"],
  ...["silero_vad", "squeezenet_fp16", "squeezenet_fp32", "ultraface_rfb_320", "ultraface_rfb_320_op17", "vww_96_bn"],
];

/** All models that tests know of, here or not, and whatever else lies in the folder. */
export function modelNames(): string[] {
  const { met, path } = sharedData.models;
  const files = met ? readdirSync(path).filter((name) => name.endsWith(".onnx")) : [];
  const found = files.map((name) => name.slice(0, -".onnx".length));
  return [...new Set([...Object.keys(carried), ...beside, ...found])].sort();
}

export function modelPath(model: string): string {
  return model in carried ? join(root, carried[model]!) : join(sharedData.models.path, `${model}.onnx`);
}

export function modelSource(model: string): ByteSource {
  return bytesSource(new Uint8Array(readFileSync(modelPath(model))), `${model}.onnx`);
}

/** What has to be there for the model to be read. */
export function modelNeeds(model: string): readonly Need[] {
  return model in carried ? [] : [sharedData.models];
}

/** A model that was converted to another opset has the name of its original and a suffix. */
export function originalName(model: string): string {
  return model.replace(/_op\d+$/, "");
}

/** The version of ONNX's own operators that a model asks for. */
export function opsetOf(model: Uint8Array): number {
  const imports = fieldsOf(model, 8).map((entry) => new BinaryReader(entry).bytes());
  const own = imports.find((entry) => fieldsOf(entry, 1).every((domain) => new BinaryReader(domain).string() === ""));
  const [version] = own ? fieldsOf(own, 2) : [];
  if (!version) throw new Error("a model without operators of ONNX's own");
  return Number(new BinaryReader(version).int64());
}

/** What follows the tag of each field of this number. */
function fieldsOf(message: Uint8Array, wanted: number): Uint8Array[] {
  const found: Uint8Array[] = [];
  const reader = new BinaryReader(message);
  while (reader.pos < reader.len) {
    const [field, wire] = reader.tag();
    const bytes = reader.skip(wire, field);
    if (field === wanted) found.push(bytes);
  }
  return found;
}
