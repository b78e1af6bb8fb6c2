import type { Engine } from "../core/engine.ts";
import type { NonFinite } from "../core/options.ts";
import type { ByteSink, ByteSource } from "../formats/source.ts";
import { type TaskOptions, trackerOf } from "../task/progress.ts";
import type { ModelReport, TensorReport } from "../task/report.ts";
import { bytesOfTensor, TensorFiles } from "./data.ts";
import type { Decision } from "./decide.ts";
import { readModel } from "./decode.ts";
import type { Model } from "./graph.ts";
import type { Job, Loss } from "./jobs/job.ts";
import { runJobs } from "./jobs/run.ts";
import { Output } from "./output.ts";
import { checkKept } from "./place.ts";
import { changeModel, type PlanOptions } from "./plan.ts";
import { remarksOn } from "./remarks.ts";
import { isTold } from "./told.ts";
import { usersOf } from "./weights.ts";
import { Addresses } from "./write.ts";

export interface QuantizeOnnxOptions extends PlanOptions, TaskOptions {
  readonly nonFinite: NonFinite;
}

/**
 * Quantizes the weights of an ONNX model and leaves its arithmetic in floating point. All that is not changed is written
 * as it was read; a model with nothing to quantize comes out byte for byte as it went in. Leaves the sink open.
 *
 * @throws FormatError, ArgumentError, the signal's reason
 */
export async function quantizeOnnx(
  engine: Engine,
  source: ByteSource,
  sink: ByteSink,
  options: QuantizeOnnxOptions,
): Promise<ModelReport> {
  const model = await readModel(source);
  const files = await TensorFiles.open(source, model);
  try {
    return await quantize(engine, model, files, sink, options);
  } finally {
    await files.close();
  }
}

async function quantize(
  engine: Engine,
  model: Model,
  files: TensorFiles,
  sink: ByteSink,
  options: QuantizeOnnxOptions,
): Promise<ModelReport> {
  checkKept(files, sink.replaces);
  const plan = await changeModel(model, files, options);
  const addresses = new Addresses();
  const output = await Output.layOut(model, files, sink, plan, addresses);
  const { jobs } = plan.edits;
  const read = new Set(jobs.map(({ constant }) => constant.tensor));
  const total = Array.from(read).reduce((sum, tensor) => sum + bytesOfTensor(tensor), 0);
  const tracker = trackerOf(options, total + output.copiedBytes);
  await output.write(addresses, tracker);
  const losses = await runJobs(engine, files, jobs, { nonFinite: options.nonFinite, addresses, tracker });
  await tracker.at("");
  return {
    tensors: plan.decisions.filter(isTold).map((decision) => reportOf(decision, losses)),
    bytesBefore: files.byteLength,
    bytesAfter: output.byteLength,
    remarks: remarksOn(model, files, plan, options, output),
  };
}

/** A constant that two nodes take differently is stored twice. */
function reportOf({ constant, jobs, reason }: Decision, losses: ReadonlyMap<Job, Loss>): TensorReport {
  const { tensor, name } = constant;
  const facts = {
    name,
    shape: tensor.shape,
    ops: usersOf(constant),
    from: tensor.type ?? "?",
    bytesBefore: bytesOfTensor(tensor),
  };
  if (jobs.length === 0) return { ...facts, to: facts.from, bytesAfter: facts.bytesBefore, reason };
  const parts = jobs.flatMap(({ parts }) => parts);
  const bytesAfter = parts.reduce((sum, { byteLength }) => sum + byteLength, 0);
  const worst = jobs.map((job) => losses.get(job)!).reduce((a, b) => (b.sqnr < a.sqnr ? b : a));
  return { ...facts, to: [...new Set(jobs.map(({ dtype }) => dtype))].join(", "), bytesAfter, ...worst };
}
