import type { Engine } from "../core/engine.ts";
import type { NonFinite } from "../core/options.ts";
import { ArgumentError, FormatError } from "../errors.ts";
import type { ByteSink, ByteSource } from "../formats/source.ts";
import { type TaskOptions, type Tracker, trackerOf } from "../task/progress.ts";
import type { ModelReport, TensorReport } from "../task/report.ts";
import { copyTensor } from "../task/transfer.ts";
import { applyDrafts } from "./apply.ts";
import { checkWritten } from "./check.ts";
import { bytesOfTensor, TensorFiles } from "./data.ts";
import { type Decision, decide } from "./decide.ts";
import { readModel } from "./decode.ts";
import { encodeModel } from "./encode.ts";
import type { Draft, Job } from "./forms/draft.ts";
import type { Model } from "./graph.ts";
import { type Loss, runJobs } from "./job.ts";
import { DataFile } from "./place.ts";
import type { Wishes } from "./recipe.ts";
import { requirementOf } from "./requirements.ts";
import { checkInputs, Scope } from "./scopes.ts";
import type { WeightSelection } from "./select.ts";
import { isTold } from "./told.ts";
import { usersOf } from "./weights.ts";
import { type Chunk, lengthOf, Pending } from "./wire.ts";
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
  checkInputs(new Scope(source.name, model.graph));
  const remarks = options.opset === undefined ? [] : await raise(model, files, options.opset);
  const decisions = await decide(model, files, options);
  const drafts = decisions.flatMap(({ draft }) => draft ?? []);
  if (drafts.length > 0) importOps(model, drafts);
  checkForm(source.name, model, drafts);
  remarks.push(...applyDrafts(model, drafts), ...othersRemark(decisions), ...functionsRemark(model));

  const addresses = new Addresses();
  const data = await dataFileFor(model, files, sink, drafts, addresses);
  const chunks = encodeModel(model);
  await checkWritten(chunkSource(source.name, chunks), model, drafts);

  const total = drafts.reduce((sum, { constant }) => sum + bytesOfTensor(constant.tensor), 0);
  const tracker = trackerOf(options, total + lengthOf(chunks.filter(isSpan)) + copiedBytes(data));
  await writeChunks(chunks, sink, addresses, tracker);
  if (data) await copyData(data, tracker);
  const jobs = drafts.map(({ job }) => job);
  const losses = await runJobs(engine, files, jobs, { nonFinite: options.nonFinite, addresses, tracker });
  await tracker.at("");
  return {
    tensors: decisions.filter(isTold).map((decision) => reportOf(decision, losses)),
    bytesBefore: files.byteLength,
    bytesAfter: lengthOf(chunks) + (data?.file.byteLength ?? 0),
    remarks,
  };
}

async function raise(model: Model, files: TensorFiles, opset: number): Promise<string[]> {
  // Loaded when it is wanted: it knows every op there is.
  const { raiseOpset } = await import("./opset/raise.ts");
  const { from, to, rewritten } = await raiseOpset(model, files, opset, files.source.name);
  return from === to ? [] : [`opset ${from} raised to ${to}`, ...rewritten];
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
    const advice =
      job.form === "qdq" ? `raise it (opset: ${least}) or take the format "cast"` : `raise it (opset: ${least})`;
    throw new FormatError(file, `has opset ${opset}, and ${what} came with ${least}; ${advice}`);
  }
}

interface PlannedData {
  readonly file: DataFile;
  readonly write: (position: number, bytes: Uint8Array) => Promise<void>;
}

async function dataFileFor(
  model: Model,
  files: TensorFiles,
  sink: ByteSink,
  drafts: readonly Draft[],
  addresses: Addresses,
): Promise<PlannedData | undefined> {
  if (files.locations.length === 0) return undefined;
  if (!sink.companion) {
    throw new ArgumentError(
      "sink",
      "the model keeps its weights in another file, and this sink has no companion for them",
    );
  }
  const companion = await sink.companion(".data");
  const file = new DataFile(companion, files, addresses);
  const ours = new Set<Pending>();
  for (const { constant, job } of drafts) {
    if (constant.tensor.data.kind !== "external") continue;
    for (const pending of [job.codes, job.scale, job.zeroPoint]) if (pending) ours.add(pending);
  }
  file.take(model, (pending) => ours.has(pending));
  return { file, write: companion.write };
}

async function copyData({ file, write }: PlannedData, tracker: Tracker): Promise<void> {
  for (const { name, from, position } of file.copies) {
    await copyTensor(from.source, { name, start: from.start, end: from.end }, { write }, position, tracker);
  }
}

function copiedBytes(data: PlannedData | undefined): number {
  return data?.file.copies.reduce((sum, { from }) => sum + from.end - from.start, 0) ?? 0;
}

function isSpan(chunk: Chunk): boolean {
  return !(chunk instanceof Uint8Array || chunk instanceof Pending);
}

function othersRemark(decisions: readonly Decision[]): string[] {
  const others = decisions.filter((decision) => !isTold(decision));
  if (others.length === 0) return [];
  const bytes = others.reduce((sum, { constant }) => sum + bytesOfTensor(constant.tensor), 0);
  return [`${others.length} other float tensors (biases and the like, ${bytes} bytes) stay as they are`];
}

function functionsRemark({ functions }: Model): string[] {
  if (functions.length === 0) return [];
  return [`${functions.length} functions of the model's own stay as they are, constants in them too`];
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
