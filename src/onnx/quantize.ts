import type { Engine } from "../core/engine.ts";
import type { NonFinite } from "../core/options.ts";
import { codeTypes } from "../dtypes.ts";
import { FormatError } from "../errors.ts";
import type { ByteSink, ByteSource } from "../formats/source.ts";
import { type TaskOptions, trackerOf } from "../task/progress.ts";
import type { ModelReport, TensorReport } from "../task/report.ts";
import { applyDrafts } from "./apply.ts";
import { checkWritten } from "./check.ts";
import { checkedScope } from "./checked.ts";
import { bytesOfTensor, TensorFiles } from "./data.ts";
import { type Decision, decide } from "./decide.ts";
import { readModel } from "./decode.ts";
import { encodeModel } from "./encode.ts";
import type { Draft, Job } from "./forms/draft.ts";
import type { Model } from "./graph.ts";
import { type Loss, runJobs } from "./job.ts";
import { checkKept, placeData } from "./place.ts";
import type { Wishes } from "./recipe.ts";
import { remarksOn } from "./remarks.ts";
import { requirementOf } from "./requirements.ts";
import { Scope } from "./scopes.ts";
import type { WeightSelection } from "./select.ts";
import { sortNodes } from "./sort.ts";
import { isTold } from "./told.ts";
import { usersOf } from "./weights.ts";
import { isSpan, lengthOf } from "./wire.ts";
import { Addresses, chunkSource, writeChunks } from "./write.ts";

export interface QuantizeOnnxOptions extends WeightSelection, Wishes, TaskOptions {
  readonly nonFinite: NonFinite;
  /** Raises the model to this opset first. */
  readonly opset?: number | undefined;
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
  const { source } = files;
  const found = checkedScope(source.name, model);
  checkKept(files, sink.replaces);
  const isRaised = options.opset !== undefined;
  const rewritten = isRaised ? await raise(model, files, options.opset) : [];
  const root = isRaised ? new Scope(source.name, model.graph) : found;
  const decisions = await decide(model, files, root, options);
  const drafts = decisions.flatMap(({ draft }) => draft ?? []);
  if (drafts.length > 0) importOps(model, drafts);
  checkForm(source.name, model, drafts);
  if (drafts.length > 0) sortNodes(source.name, model);
  applyDrafts(model, drafts);

  const addresses = new Addresses();
  const data = await placeData(model, files, sink, drafts, addresses);
  const chunks = encodeModel(model);
  await checkWritten(chunkSource(source.name, chunks), model, drafts);

  const total = drafts.reduce((sum, { constant }) => sum + bytesOfTensor(constant.tensor), 0);
  const tracker = trackerOf(options, total + lengthOf(chunks.filter(isSpan)) + (data?.copiedBytes ?? 0));
  await writeChunks(chunks, sink, addresses, tracker);
  await data?.copy(tracker);
  const jobs = drafts.map(({ job }) => job);
  const losses = await runJobs(engine, files, jobs, { nonFinite: options.nonFinite, addresses, tracker });
  await tracker.at("");
  const bytesAfter = lengthOf(chunks) + (data?.byteLength ?? 0);
  return {
    tensors: decisions.filter(isTold).map((decision) => reportOf(decision, losses)),
    bytesBefore: files.byteLength,
    bytesAfter,
    remarks: [...rewritten, ...remarksOn(model, files, decisions, chunks, { ...options, isRaised }, bytesAfter)],
  };
}

/** The newest opset that a runtime was seen to take. */
const RUNTIMES_TAKE = 26;

async function raise(model: Model, files: TensorFiles, opset: number): Promise<string[]> {
  // Loaded when it is wanted: it knows every op there is.
  const { raiseOpset } = await import("./opset/raise.ts");
  const { from, to, rewritten } = await raiseOpset(model, files, opset, files.source.name);
  if (from === to) return [];
  const beyond = to > RUNTIMES_TAKE ? [`ONNX Runtime up to 1.30 takes opsets up to ${RUNTIMES_TAKE}`] : [];
  return [`opset ${from} raised to ${to}`, ...beyond, ...rewritten];
}

/** A common opset, for models that so far have nodes of other domains only. */
const COMMON_OPSET = 13;

/** What restores weights are ONNX's own ops. Before IR 3 they could not but be those of opset 1. */
function importOps(model: Model, drafts: readonly Draft[]): void {
  if (model.opsets.has("")) return;
  const needed = drafts.map(({ job }) => requirementOf(job.form, job.recipe).opset);
  model.opsets.set("", model.irVersion < 3 ? 1 : needed.reduce((a, b) => Math.max(a, b), COMMON_OPSET));
}

/** @throws FormatError when the model's opset has not what the form needs */
function checkForm(file: string, model: Model, drafts: readonly Draft[]): void {
  const opset = model.opsets.get("") ?? 0;
  for (const { job } of drafts) {
    const { opset: least, what } = requirementOf(job.form, job.recipe);
    if (opset >= least) continue;
    const hasChoice = job.form === "qdq" && codeTypes[job.recipe.dtype].bits > 4;
    const advice = `raise it (opset: ${least})${hasChoice ? ' or take the format "cast"' : ""}`;
    throw new FormatError(file, `has opset ${opset}, and ${what} came with ${least}; ${advice}`);
  }
}

function reportOf({ constant, draft, reason }: Decision, losses: ReadonlyMap<Job, Loss>): TensorReport {
  const { tensor, name } = constant;
  const facts = {
    name,
    shape: tensor.shape,
    ops: usersOf(constant),
    from: tensor.type ?? "?",
    bytesBefore: bytesOfTensor(tensor),
  };
  if (!draft) return { ...facts, to: facts.from, bytesAfter: facts.bytesBefore, reason };
  const { codes, scale, zeroPoint, recipe } = draft.job;
  const bytesAfter = codes.byteLength + scale.byteLength + (zeroPoint?.byteLength ?? 0);
  return { ...facts, to: recipe.dtype, bytesAfter, ...losses.get(draft.job) };
}
