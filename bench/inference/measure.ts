import { rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { createOutputMeter } from "../../src/compare/compare-outputs.ts";
import { randomFeeds } from "../../src/compare/feeds.ts";
import type { ModelValueInfo } from "../../src/compare/model-runtime.ts";
import type { Feeds } from "../../src/compare/tensor-values.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { NOISY, timingOf } from "../harness.ts";
import { type Form, makeForm } from "./forms.ts";
import type { OpenedModel } from "./models.ts";
import { interleave, pairedRatio, type RoundsPlan, type Run } from "./rounds.ts";
import { openSession, type Session } from "./session.ts";
import { FLOAT, type InferenceFigure, type InferenceGap, type InferenceRow } from "./table.ts";

export interface Around {
  readonly engine: Engine;
  readonly plan: RoundsPlan;
  /** Where models are written, and deleted once they have run. */
  readonly folder: string;
  readonly progress: (text: string) => void;
}

/** Sets of inputs that outputs are compared over. */
const SETS = 4;

/** The most bytes of float models whose sessions are open at a time: more forms than that take turns in several parts. */
const OPEN_BYTES = 2 ** 30;

/** The float model as it is measured against. */
interface Yardstick {
  readonly session: Session;
  readonly run: Run;
  /** For each set of inputs. */
  readonly outputs: readonly Feeds[];
}

interface Contender {
  readonly form: Form;
  readonly session: Session;
  readonly run: Run;
  readonly size: number;
  readonly sqnr: number | undefined;
}

/** Every form of a model beside the float model, which is the first row. */
export async function measureForms(
  model: OpenedModel,
  forms: readonly Form[],
  around: Around,
): Promise<InferenceRow[]> {
  const opened = await opening(model.path, (session) => yardstickOf(session, model));
  if ("gap" in opened) return [{ model: model.name, form: FLOAT, ...opened }];
  const rows: InferenceRow[] = [];
  try {
    for (const part of partsOf(forms, model.bytes)) {
      const [float, ...others] = await measurePart(model, part, opened, around);
      rows.push(...(rows.length === 0 ? [float!] : []), ...others);
    }
  } finally {
    await opened.session.release();
  }
  return rows;
}

/** As many forms at a time as memory has room for beside the float model. */
function partsOf(forms: readonly Form[], bytes: number): Form[][] {
  const together = Math.max(1, Math.floor(OPEN_BYTES / bytes) - 1);
  const count = Math.ceil(forms.length / together);
  return Array.from({ length: count }, (_, i) => forms.slice(i * together, (i + 1) * together));
}

async function measurePart(
  model: OpenedModel,
  part: readonly Form[],
  float: Yardstick,
  { engine, plan, folder, progress }: Around,
): Promise<InferenceRow[]> {
  const contenders: Contender[] = [];
  const gaps: InferenceGap[] = [];
  try {
    for (const form of part) {
      progress(`${model.name}: ${form.name}`);
      const path = join(folder, "out.onnx");
      const made = await makeForm(engine, model.source, form, path);
      const opened =
        "reason" in made
          ? ({ gap: "not made", reason: made.reason } as const)
          : await opening(path, async (session) => ({
              session,
              form,
              size: made.size,
              ...(await compared(session, float, model, engine)),
            }));
      await Promise.all([path, `${path}.data`].map((each) => rm(each, { force: true })));
      if ("gap" in opened) gaps.push({ model: model.name, form: form.name, ...opened });
      else contenders.push(opened);
    }
    const runs = [float.run, ...contenders.map(({ run }) => run)];
    const samples = await interleave(runs, plan, (round) => progress(`${model.name}: round ${round}`));
    const figures = samples.map((own, i) => figureOf(model.name, contenders[i - 1], own, samples[0]!));
    return [figures[0]!, ...part.map(({ name }) => [...figures, ...gaps].find(({ form }) => form === name)!)];
  } finally {
    for (const { session } of contenders) await session.release();
  }
}

function figureOf(
  model: string,
  contender: Contender | undefined,
  samples: readonly number[],
  float: readonly number[],
): InferenceFigure {
  const { seconds } = timingOf(samples);
  const { ratio, spread } = pairedRatio(samples, float);
  const { form, size, sqnr } = contender ?? { form: { name: FLOAT }, size: 1, sqnr: Number.POSITIVE_INFINITY };
  return {
    model,
    form: form.name,
    seconds,
    ratio,
    spread,
    rounds: samples.length,
    size,
    sqnr,
    noisy: spread > NOISY,
  };
}

/** What `use` makes of a session, which stays open; or why the model cannot be used. */
async function opening<T>(
  path: string,
  use: (session: Session) => Promise<T>,
): Promise<T | Pick<InferenceGap, "gap" | "reason">> {
  let session: Session;
  try {
    session = await openSession(path);
  } catch (error) {
    return { gap: "does not load", reason: shortened(error, path) };
  }
  try {
    return await use(session);
  } catch (error) {
    await session.release();
    return { gap: "does not run", reason: shortened(error, path) };
  }
}

/** The first line, without a path that says nothing. */
function shortened(error: unknown, path: string): string {
  const [line = ""] = (error instanceof Error ? error.message : String(error)).split("\n", 1);
  return line.replaceAll(path, basename(path));
}

async function yardstickOf(session: Session, model: OpenedModel): Promise<Yardstick> {
  const outputs: Feeds[] = [];
  for (const set of feedSetsOf(session.inputs, model)) outputs.push(await session.outputs(await set.read()));
  return { session, run: await runOf(session, model), outputs };
}

/** The run that is timed, and how far outputs are from those of the float model. */
async function compared(session: Session, float: Yardstick, model: OpenedModel, engine: Engine) {
  const meters = new Map(Object.keys(float.outputs[0]!).map((name) => [name, createOutputMeter(engine)]));
  for (const [i, set] of feedSetsOf(session.inputs, model).entries()) {
    const outputs = await session.outputs(await set.read());
    for (const [name, meter] of meters) meter.add(float.outputs[i]![name]!, outputs[name]!);
  }
  const all = [...meters.values()].map((meter) => meter.result());
  const figures = all.flatMap((comparison) => (comparison.kind === "float" ? [comparison.sqnr] : []));
  return { run: await runOf(session, model), sqnr: figures.length === 0 ? undefined : Math.min(...figures) };
}

async function runOf(session: Session, model: OpenedModel): Promise<Run> {
  return session.prepare(await feedSetsOf(session.inputs, model)[0]!.read());
}

/** The same values for all forms of a model, in the types that each takes. */
function feedSetsOf(inputs: readonly ModelValueInfo[], { limits }: OpenedModel) {
  return randomFeeds(inputs, { seed: 0, sets: SETS, limits });
}
