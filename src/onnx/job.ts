import type { Engine } from "../core/engine.ts";
import type { NonFinite } from "../core/options.ts";
import type { ResidentTensor } from "../core/resident.ts";
import { elementsOf } from "../core/shape.ts";
import { bytesOf, type FloatTensor } from "../core/tensor.ts";
import { type ArrayOf, byteLengthOf, type CodeDType, codeTypes } from "../dtypes.ts";
import { nameFile } from "../task/blame.ts";
import type { Tracker } from "../task/progress.ts";
import { bytesOfTensor, type TensorFiles } from "./data.ts";
import { finiteScales } from "./finite.ts";
import type { Job } from "./forms/draft.ts";
import { Loader } from "./load.ts";
import type { Addresses } from "./write.ts";

/** What a weight lost. */
export interface Loss {
  readonly sqnr: number;
  readonly maxAbs: number;
}

/**
 * Quantizes weights one after the other and writes codes, scales and zero points to their places: while one is worked on,
 * the one before is being written and the next one read.
 *
 * @throws FormatError naming file and weight, the signal's reason
 */
export async function runJobs(
  engine: Engine,
  files: TensorFiles,
  jobs: readonly Job[],
  { nonFinite, addresses, tracker }: { nonFinite: NonFinite; addresses: Addresses; tracker: Tracker },
): Promise<ReadonlyMap<Job, Loss>> {
  const losses = new Map<Job, Loss>();
  const loader = new Loader(
    engine,
    files,
    jobs.map(({ constant: { name, tensor } }) => ({ name, tensor })),
  );
  const shelves = [new Shelf(), new Shelf()];
  let writing: Promise<void> = Promise.resolve();
  try {
    for (const [i, job] of jobs.entries()) {
      await tracker.at(job.constant.name);
      const values = await loader.next();
      const { loss, parts } = quantize(engine, files.source.name, values, job, nonFinite, shelves[i % 2]!);
      losses.set(job, loss);
      await writing;
      writing = writeParts(parts, addresses);
      writing.catch(() => {}); // heard of when it is waited for
      tracker.advance(bytesOfTensor(job.constant.tensor));
    }
    await writing;
    return losses;
  } finally {
    await writing.catch(() => {});
    await loader.dispose();
  }
}

/** Bytes that are lent for one weight at a time, as many as the longest needs: fresh ones would cost page faults. */
class Shelf {
  #buffer = new ArrayBuffer(0);

  lend<D extends CodeDType>(dtype: D, elements: number): ArrayOf<D> {
    const bytes = byteLengthOf(dtype, elements);
    if (this.#buffer.byteLength < bytes) this.#buffer = new ArrayBuffer(bytes);
    const { array } = codeTypes[dtype];
    return new array(this.#buffer, 0, bytes / array.BYTES_PER_ELEMENT) as unknown as ArrayOf<D>;
  }
}

interface Quantized {
  readonly loss: Loss;
  readonly parts: readonly (readonly [Job["codes"], Uint8Array])[];
}

function quantize(
  engine: Engine,
  file: string,
  values: FloatTensor | ResidentTensor,
  { constant, recipe, ...pending }: Job,
  nonFinite: NonFinite,
  shelf: Shelf,
): Quantized {
  const { dtype, scheme, granularity, reduceRange } = recipe;
  const out = shelf.lend(dtype, elementsOf(constant.tensor.shape));
  const { q, error } = nameFile(file, constant.name, () => {
    const found = engine.quantizeMeasured(values, { dtype, scheme, reduceRange, nonFinite, ...granularity, out });
    const finite = finiteScales(constant.tensor.type!, recipe, found.q.scale, found.q.zeroPoint);
    if (!finite) return found;
    const { zeroPoint } = found.q;
    return engine.quantizeMeasured(values, { dtype, scheme, ...granularity, scale: finite, zeroPoint, out });
  });
  const parts: [Job["codes"], Uint8Array][] = [
    [pending.codes, bytesOf(q.data)],
    [pending.scale, bytesOf(q.scale)],
  ];
  if (pending.zeroPoint) parts.push([pending.zeroPoint, zeroPointBytes(dtype, q.zeroPoint)]);
  return { loss: { sqnr: error.sqnr, maxAbs: error.maxAbs }, parts };
}

async function writeParts(parts: Quantized["parts"], addresses: Addresses): Promise<void> {
  for (const [pending, bytes] of parts) await addresses.write(pending, bytes);
}

/** Zero points are of the codes' type, 4-bit ones two to a byte like them. */
function zeroPointBytes(dtype: CodeDType, zeroPoint: Int32Array): Uint8Array {
  const { bits, array } = codeTypes[dtype];
  if (bits !== 4) return bytesOf(array.from(zeroPoint));
  const bytes = new Uint8Array(Math.ceil(zeroPoint.length / 2));
  zeroPoint.forEach((zero, i) => {
    bytes[i >> 1]! |= (zero & 15) << (4 * (i % 2));
  });
  return bytes;
}
