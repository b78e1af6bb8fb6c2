import type { Engine } from "../core/engine.ts";
import type { NonFinite } from "../core/options.ts";
import type { ByteSink, ByteSource } from "../formats/source.ts";
import { Schedule } from "../streams/schedule.ts";
import { shareOf, type TaskOptions, trackerOf, workersFor } from "../task/progress.ts";
import type { ModelReport, TensorReport } from "../task/report.ts";
import { bytesOfTensor, TensorFiles } from "./data.ts";
import type { Decision } from "./decide.ts";
import { readModel } from "./decode.ts";
import type { Model } from "./graph.ts";
import { remarksOnLosses } from "./half/remarks.ts";
import type { Job, Loss } from "./jobs/job.ts";
import { bytesReadBy, runJobs } from "./jobs/run.ts";
import { Output } from "./output.ts";
import { checkKept } from "./place.ts";
import { changeModel, type Plan, type PlanOptions } from "./plan.ts";
import { remarksOn } from "./remarks.ts";
import { Scope } from "./scopes.ts";
import { isTold } from "./told.ts";
import { unknownConstants } from "./unknown.ts";
import { usersOf } from "./weights.ts";
import { Addresses } from "./write.ts";

/** A model that is to be made of another. */
export interface WantedModel {
  readonly sink: ByteSink;
  readonly plan: PlanOptions | ((model: Model) => PlanOptions);
  /** What its data file is called after the model's own name, where it has one; `.data` if not said. */
  readonly dataSuffix?: string | undefined;
}

/**
 * Makes quantized models of one model, in one pass over its weights: each is read once, and what several models store
 * alike is made once. All that is not changed is written as it was read; a model with nothing to quantize comes out byte
 * for byte as it went in. Leaves the sinks open.
 *
 * @returns a report for each, in their order
 * @throws FormatError, ArgumentError, the signal's reason
 */
export async function quantizeOnnx(
  engine: Engine,
  source: ByteSource,
  wanted: readonly WantedModel[],
  options: TaskOptions & { readonly nonFinite: NonFinite },
): Promise<ModelReport[]> {
  const first = await readModel(source);
  const files = await TensorFiles.open(source, first);
  try {
    for (const { sink } of wanted) checkKept(files, sink.replaces);
    const addresses = new Addresses();
    const made: MadeModel[] = [];
    for (const [i, { sink, plan: how, dataSuffix }] of wanted.entries()) {
      const model = i === 0 ? first : await readModel(source);
      const plan = await changeModel(model, files, typeof how === "function" ? how(model) : how);
      made.push({ model, plan, output: await Output.layOut(model, files, sink, plan, { addresses, dataSuffix }) });
    }
    const jobs = made.flatMap(({ plan }) => plan.jobs);
    const copied = made.reduce((sum, { output }) => sum + output.copiedBytes, 0);
    const total = bytesReadBy(files, jobs) + copied;
    const tracker = trackerOf(options, total);
    for (const { output } of made) await output.write(addresses, tracker);
    // What several models make of a weight is work for each of them.
    const work = jobs.reduce((sum, { constant }) => sum + bytesOfTensor(constant.tensor), copied);
    const workers = workersFor(options, engine, work);
    const losses = await runJobs(new Schedule(workers, tracker), files, jobs, {
      ...{ nonFinite: options.nonFinite, addresses, tracker, share: shareOf(options, workers) },
    });
    await tracker.at("");
    return made.map((each) => reportOn(each, files, losses));
  } finally {
    await files.close();
  }
}

interface MadeModel {
  readonly model: Model;
  readonly plan: Plan;
  readonly output: Output;
}

function reportOn({ model, plan, output }: MadeModel, files: TensorFiles, losses: ReadonlyMap<Job, Loss>): ModelReport {
  const root = new Scope(files.source.name, model.graph);
  return {
    tensors: [
      ...plan.decisions.filter(isTold).map((decision) => reportOf(decision, losses)),
      ...unknownConstants(root, files),
    ],
    bytesBefore: files.byteLength,
    bytesAfter: output.byteLength,
    remarks: [...remarksOn(model, files, plan, output), ...remarksOnLosses(plan.jobs, losses)],
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
  const { sqnr, maxAbs } = jobs.map((job) => losses.get(job)!).reduce((a, b) => (b.sqnr < a.sqnr ? b : a));
  return { ...facts, to: [...new Set(jobs.map(({ dtype }) => dtype))].join(", "), bytesAfter, sqnr, maxAbs };
}
