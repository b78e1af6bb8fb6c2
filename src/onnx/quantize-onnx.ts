import type { Engine } from "../engine/engine.ts";
import type { NonFinite } from "../engine/tensors/quantize-options.ts";
import { UnchangedError } from "../errors.ts";
import type { ByteSink, ByteSource } from "../formats/byte-source.ts";
import { textOf, type Words, wordsOf } from "../messages.ts";
import type { Loss, ModelReport, TensorReport } from "../pipeline/model-report.ts";
import { shareOf, type TaskOptions, trackerOf, workersFor } from "../pipeline/progress.ts";
import { Schedule } from "../pipeline/schedule.ts";
import type { Job } from "./codecs/codec.ts";
import { bytesReadBy, runJobs } from "./codecs/run-codecs.ts";
import { readModel } from "./io/decode.ts";
import { checkKept } from "./io/external-data-writer.ts";
import { bytesOfTensor, TensorFiles } from "./io/tensor-data.ts";
import { Addresses } from "./io/write-segments.ts";
import type { Model } from "./ir/graph.ts";
import { Scope } from "./ir/scopes.ts";
import { Output } from "./model-output.ts";
import { remarksOnLosses } from "./passes/float16/half-remarks.ts";
import type { Decision } from "./passes/pass-result.ts";
import { type Plan, type PlanOptions, planModel, QuantizedError } from "./plan-model.ts";
import { isReported, remarksOn } from "./report.ts";
import { type Alternative, isUnchanged, remedyAmong, whyUnchanged } from "./unchanged.ts";
import { unknownConstants } from "./unknown-types.ts";
import { usersOf } from "./weights/find-weights.ts";

/** A model that is to be made of another. */
export interface WantedModel {
  /** Opens where it goes to, once it is known that there is something to be made. */
  readonly sink: () => ByteSink | Promise<ByteSink>;
  readonly plan: PlanOptions | ((model: Model) => PlanOptions);
  /** Other options to advise where these change nothing. */
  readonly alternatives?: (() => Iterable<Alternative>) | undefined;
  /** What its data file is called after the model's own name, where it has one. Default: `.data`. */
  readonly dataSuffix?: string | undefined;
}

/** A model that was not made, as no weight of it would have changed. */
export interface UnchangedModel {
  /** How many weights there are, and why none of them changes. */
  readonly unchanged: Words;
}

export interface QuantizeOnnxOptions extends TaskOptions {
  readonly nonFinite: NonFinite;
  /** Whether models with nothing to quantize are written as they are. */
  readonly allowUnchanged: boolean;
}

/**
 * Makes quantized models of one model, in one pass over its weights: each is read once, and what several models store
 * alike is made once. All that is not changed is written as it was read. Leaves the sinks open.
 *
 * @returns a report for each, in their order; without `allowUnchanged` the reason for those that were not made
 * @throws FormatError, ArgumentError, the signal's reason; UnchangedError where none would be made
 */
export async function quantizeOnnx(
  engine: Engine,
  source: ByteSource,
  wanted: readonly WantedModel[],
  options: QuantizeOnnxOptions,
): Promise<(ModelReport | UnchangedModel)[]> {
  const first = await readModel(source);
  const files = await TensorFiles.open(source, first);
  try {
    const planned: (PlannedModel | UnchangedModel)[] = [];
    let refusal: QuantizedError | undefined;
    for (const [i, each] of wanted.entries()) {
      const model = i === 0 ? first : await readModel(source);
      try {
        planned.push(await planWanted(model, files, each, options));
      } catch (error) {
        // Of a set, the models that may be made of a quantized one are.
        if (!(error instanceof QuantizedError) || wanted.length === 1 || options.allowUnchanged) throw error;
        refusal = error;
        planned.push({ unchanged: error.detail });
      }
    }
    const going = planned.filter((each) => "plan" in each);
    // Nothing would copy a quantized model, so that is not advised.
    if (going.length === 0) throw refusal ?? (await unchangedError(planned as UnchangedModel[], wanted, source, files));
    const made = await makeAll(engine, files, going, options);
    return planned.map((each) => ("plan" in each ? made.get(each)! : each));
  } finally {
    await files.close();
  }
}

interface PlannedModel extends Omit<WantedModel, "plan"> {
  readonly model: Model;
  readonly plan: Plan;
}

async function planWanted(
  model: Model,
  files: TensorFiles,
  wanted: WantedModel,
  { allowUnchanged }: QuantizeOnnxOptions,
): Promise<PlannedModel | UnchangedModel> {
  const options = typeof wanted.plan === "function" ? wanted.plan(model) : wanted.plan;
  const plan = await planModel(model, files, options);
  if (!allowUnchanged && isUnchanged(plan, options)) return { unchanged: wordsOf(whyUnchanged(plan, options)) };
  return { ...wanted, model, plan };
}

async function unchangedError(
  planned: readonly UnchangedModel[],
  wanted: readonly WantedModel[],
  source: ByteSource,
  files: TensorFiles,
): Promise<UnchangedError> {
  const reasons = [...new Set(planned.map(({ unchanged }) => textOf(unchanged)))];
  const alternatives = wanted.flatMap(({ alternatives }) => [...(alternatives?.() ?? [])]);
  return new UnchangedError(source.name, reasons.join("; "), {
    remedy: await remedyAmong(alternatives, source, files),
  });
}

async function makeAll(
  engine: Engine,
  files: TensorFiles,
  planned: readonly PlannedModel[],
  options: QuantizeOnnxOptions,
): Promise<ReadonlyMap<PlannedModel, ModelReport>> {
  const addresses = new Addresses();
  const made: { readonly planned: PlannedModel; readonly output: Output }[] = [];
  for (const each of planned) {
    const { model, plan, dataSuffix } = each;
    const sink = await each.sink();
    checkKept(files, sink.replaces);
    made.push({ planned: each, output: await Output.layOut(model, files, sink, plan, { addresses, dataSuffix }) });
  }
  const jobs = made.flatMap(({ planned }) => planned.plan.jobs);
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
  return new Map(made.map((each) => [each.planned, reportOn({ ...each.planned, output: each.output }, files, losses)]));
}

interface MadeModel extends PlannedModel {
  readonly output: Output;
}

function reportOn({ model, plan, output }: MadeModel, files: TensorFiles, losses: ReadonlyMap<Job, Loss>): ModelReport {
  const root = new Scope(files.source.name, model.graph);
  return {
    tensors: [
      ...plan.decisions.filter(isReported).map((decision) => reportOf(decision, losses)),
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
  const worst = jobs.map((job) => losses.get(job)!).reduce((a, b) => (b.sqnr < a.sqnr ? b : a));
  const { sqnr, maxAbs, rangeGain } = worst;
  const to = [...new Set(jobs.map(({ dtype }) => dtype))].join(", ");
  return { ...facts, to, bytesAfter, sqnr, maxAbs, ...(rangeGain !== undefined && { rangeGain }) };
}
