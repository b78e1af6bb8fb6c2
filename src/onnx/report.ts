import { type Remark, remark } from "../pipeline/model-report.ts";
import { bytesOfTensor, type TensorFiles } from "./io/tensor-data.ts";
import { graphsOf, type Model } from "./ir/graph.ts";
import type { Output } from "./model-output.ts";
import type { Decision } from "./passes/pass-result.ts";
import type { Plan } from "./plan-model.ts";
import { isSpan, type Segment } from "./proto/wire-format.ts";
import { unknownElsewhere } from "./unknown-types.ts";

/** What a reader of a report would wonder about, a line each: what changed besides weights, and what did not. */
export function remarksOn(
  model: Model,
  files: TensorFiles,
  { decisions, isRaised, remarks }: Plan,
  { segments, byteLength }: Output,
): Remark[] {
  return [
    ...remarks,
    ...changesOf(model, isRaised),
    ...quantizedAlready(decisions),
    ...others(decisions),
    ...remainder(files, decisions),
    ...unknownElsewhere(model),
    ...functions(model),
    ...training(model, decisions),
    ...unchanged(segments),
    ...growth(files, byteLength),
  ];
}

function changesOf(model: Model, isRaised: boolean): Remark[] {
  const { was } = model.origin;
  const remarks: Remark[] = [];
  if (!isRaised && !was.opsets.has("") && model.opsets.has("")) {
    remarks.push(remark("opset-imported", `opset ${model.opsets.get("")} of ONNX imported`));
  }
  if (model.irVersion !== was.irVersion)
    remarks.push(remark("ir-version-raised", `IR version ${was.irVersion} raised to ${model.irVersion}`));
  const gone = Array.from(graphsOf(model.graph)).reduce(
    (sum, { inputs, origin }) => sum + origin.was.inputs.length - inputs.length,
    0,
  );
  if (gone > 0)
    remarks.push(
      remark(
        "inputs-dropped",
        `${count(gone, "initializer")} listed among the graph's inputs, as old models do: no longer`,
      ),
    );
  return remarks;
}

function quantizedAlready(decisions: readonly Decision[]): Remark[] {
  const parts = decisions.filter(({ isPart }) => isPart);
  return parts.length === 0
    ? []
    : [
        remark(
          "quantized-already",
          `weights that are quantized already stay as they are, with ${count(parts.length, "tensor")} of scales`,
        ),
      ];
}

function others(decisions: readonly Decision[]): Remark[] {
  const others = decisions.filter(
    (decision) => decision.jobs.length === 0 && !isReported(decision) && !decision.isPart,
  );
  if (others.length === 0) return [];
  const bytes = others.reduce((sum, { constant }) => sum + bytesOfTensor(constant.tensor), 0);
  return [
    remark(
      "other-tensors",
      `${count(others.length, "other float tensor")} (biases and the like, ${bytes} bytes): as before`,
    ),
  ];
}

/** The share of a file from which it is worth a word. */
const NOTABLE = 0.1;

/** What no quantization of floats makes smaller. */
function remainder(files: TensorFiles, decisions: readonly Decision[]): Remark[] {
  const floats = decisions.reduce((sum, { constant }) => sum + bytesOfTensor(constant.tensor), 0);
  const rest = files.byteLength - floats;
  if (rest < NOTABLE * files.byteLength) return [];
  return [remark("other-bytes", `${rest} bytes of the input are no float tensors: nodes, text, integers`)];
}

function functions({ functions }: Model): Remark[] {
  return functions.length === 0
    ? []
    : [remark("functions", `${count(functions.length, "function")} of the model's own: as before`)];
}

function training({ isTrainable }: Model, decisions: readonly Decision[]): Remark[] {
  const any = decisions.some(({ jobs }) => jobs.length > 0);
  return isTrainable && any
    ? [remark("training", "how the model is trained is written as it was, and names weights that are codes now")]
    : [];
}

function unchanged(written: readonly Segment[]): Remark[] {
  const [only] = written;
  return written.length === 1 && only && isSpan(only)
    ? [remark("unchanged", "nothing to do: the model is written as it was read")]
    : [];
}

/** A newer opset says in tensors what was said in attributes; a small layer has more nodes than weights. */
function growth(files: TensorFiles, bytesAfter: number): Remark[] {
  const more = bytesAfter - files.byteLength;
  return more > 0
    ? [remark("larger", `larger than the input by ${more} bytes: what was added outweighs what codes save`)]
    : [];
}

function count(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? "" : "s"}`;
}

/** Constants that are no weights are told of one by one from this size on, in bytes. */
const WORTH_TELLING = 1024;
/** Whether reports have a line for a constant: weights always, others where they are matrices of some size. */
export function isReported({ isWeight, isPart, constant: { tensor } }: Decision): boolean {
  if (isPart) return false;
  return isWeight || (tensor.shape.length > 1 && bytesOfTensor(tensor) >= WORTH_TELLING);
}
