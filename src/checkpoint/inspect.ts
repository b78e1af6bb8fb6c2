import type { Engine } from "../core/engine.ts";
import type { FloatTensor } from "../core/tensor.ts";
import { NonFiniteError } from "../errors.ts";
import type { FormatName } from "../formats/detect.ts";
import { floatTensorOf, isFloatName } from "../formats/floats.ts";
import type { SafetensorsDType, SafetensorsTensor } from "../formats/safetensors.ts";
import { type ByteSource, readExactly } from "../formats/source.ts";
import { type TaskOptions, trackerOf } from "../task/progress.ts";
import { type Entry, METADATA_KEY } from "./convention.ts";
import { entriesFromText } from "./entries.ts";
import { locate, type Places } from "./locate.ts";
import { openCheckpoint } from "./open.ts";
import { decide } from "./select.ts";

/** What a tensor would lose, as signal-to-quantization-noise ratio in dB. */
export interface Prospects {
  readonly int8PerTensor: number;
  readonly int8PerChannel: number;
  /** Blocks of 32 along axis 1; undefined where that would not make the tensor smaller. */
  readonly int4Blocks: number | undefined;
}

const BLOCK = 32;

export interface TensorInspection {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: SafetensorsDType;
  /** With scales and zero points, where it is quantized. */
  readonly bytes: number;
  /** Of float tensors. */
  readonly min?: number | undefined;
  readonly max?: number | undefined;
  /** Of float tensors that would be quantized. */
  readonly sqnr?: Prospects | undefined;
  /** How it is quantized already. */
  readonly quantized?: Entry | undefined;
  /** Why it would not be quantized. */
  readonly reason?: string | undefined;
}

export interface Inspection {
  readonly format: FormatName;
  readonly metadata: Readonly<Record<string, string>>;
  readonly bytes: number;
  readonly tensors: readonly TensorInspection[];
}

/**
 * What is in a file, and what each of its tensors would lose.
 *
 * @throws FormatError, the signal's reason
 */
export async function inspectCheckpoint(engine: Engine, source: ByteSource, options: TaskOptions): Promise<Inspection> {
  const checkpoint = await openCheckpoint(source);
  const { format, metadata, tensors } = checkpoint;
  const entries = entriesFromText(source.name, metadata[METADATA_KEY]);
  const how = { scheme: "symmetric", perChannel: true } as const;
  const decisions = decide(source.name, checkpoint, { ...how, dtype: "int8" });
  const blocks = decide(source.name, checkpoint, { ...how, dtype: "int4", blockSize: BLOCK });
  const placesOf = entries ? locate(source.name, entries, tensors) : new Map<string, Places>();
  const parts = new Set([...placesOf.values()].flatMap((places) => [...places.values()].map(({ name }) => name)));
  const tracker = trackerOf(options, source.byteLength);
  const inspections: TensorInspection[] = [];
  for (const [i, decision] of decisions.entries()) {
    const { tensor } = decision;
    if (parts.has(tensor.name) && !entries?.has(tensor.name)) continue; // told of with its tensor
    await tracker.at(tensor.name);
    tracker.advance(tensor.end - tensor.start);
    const { name, shape, dtype, start, end } = tensor;
    const facts = { name, shape, dtype, bytes: end - start };
    const quantized = entries?.get(name);
    const reason = "reason" in decision ? decision.reason : undefined;
    const trial = { int8: reason === undefined, blocks: "entry" in blocks[i]! };
    if (quantized) {
      const bytes = [...placesOf.get(name)!.values()].reduce((sum, part) => sum + part.end - part.start, 0);
      inspections.push({ ...facts, bytes, quantized });
    } else inspections.push({ ...facts, reason, ...(await measureTensor(engine, source, tensor, trial)) });
  }
  await tracker.at("");
  return { format, metadata, bytes: source.byteLength, tensors: inspections };
}

/** Which quantizations make the tensor smaller, and so are tried. */
interface Trial {
  readonly int8: boolean;
  readonly blocks: boolean;
}

type Measured = Pick<TensorInspection, "min" | "max" | "sqnr" | "reason">;

async function measureTensor(
  engine: Engine,
  source: ByteSource,
  { name, dtype, shape, start, end }: SafetensorsTensor,
  trial: Trial,
): Promise<Measured> {
  if (!isFloatName(dtype) || start === end) return {};
  const values = floatTensorOf(source.name, await readExactly(source, start, end, name), { name, dtype, shape });
  try {
    const { min, max } = engine.range(values);
    return { min: min[0]!, max: max[0]!, ...(trial.int8 && { sqnr: prospectsOf(engine, values, trial) }) };
  } catch (error) {
    if (!(error instanceof NonFiniteError)) throw error;
    return { reason: `holds ${error.value} at flat index ${error.index}` };
  }
}

function prospectsOf(engine: Engine, values: FloatTensor, { blocks }: Trial): Prospects {
  const sqnr = (options: object) => engine.error(values, engine.quantize(values, options)).sqnr;
  const flat = values.shape.length < 2;
  return {
    int8PerTensor: sqnr({ dtype: "int8" }),
    int8PerChannel: sqnr(flat ? { dtype: "int8" } : { dtype: "int8", axis: 0 }),
    int4Blocks: blocks ? sqnr({ dtype: "int4", axis: flat ? 0 : 1, blockSize: BLOCK }) : undefined,
  };
}
