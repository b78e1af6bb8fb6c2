import type { NonFinite } from "../../engine/tensors/quantize-options.ts";
import { elementsOf } from "../../engine/tensors/shape.ts";
import type { ByteSource } from "../../formats/byte-source.ts";
import { withErrorContext } from "../../pipeline/error-context.ts";
import type { Loss } from "../../pipeline/model-report.ts";
import type { Tracker } from "../../pipeline/progress.ts";
import { allInOrder, type Schedule } from "../../pipeline/schedule.ts";
import { roomFor, type StoredTensor, sizeOf } from "../../pipeline/stored-tensor.ts";
import type { Files } from "../../pipeline/work.ts";
import { storedTensorOf } from "../io/load-tensor.ts";
import { bytesOfTensor, type TensorFiles } from "../io/tensor-data.ts";
import type { Addresses } from "../io/write-segments.ts";
import { type Job, keyOf } from "./codec.ts";
import { codecOf, type EncodedStretch, encodeWork, type Order, writePart } from "./encode-and-write.ts";

interface JobOptions {
  readonly nonFinite: NonFinite;
  readonly addresses: Addresses;
  readonly tracker: Tracker;
  /** Bytes that one worker may take for a constant. */
  readonly share: number;
}

/**
 * Does jobs, as many at a time as there are workers, and has what they make written to its place. What several want of the
 * same numbers is read once, and made once where it is the same.
 *
 * @throws FormatError naming file and weight, the signal's reason
 */
export async function runJobs(
  schedule: Schedule,
  files: TensorFiles,
  jobs: readonly Job[],
  { nonFinite, addresses, tracker, share }: JobOptions,
): Promise<ReadonlyMap<Job, Loss>> {
  const losses = new Map<Job, Loss>();
  const doGroup = async (group: Group): Promise<void> => {
    const [{ constant }] = group;
    const { name, tensor } = constant;
    const same = alikeIn(group);
    const orders = same.map((alike): Order => {
      const [{ spec, parts }] = alike;
      const ordered = parts.map(({ byteLength }, part) => {
        return { byteLength, targets: alike.map((job) => addresses.of(job.parts[part]!)) };
      });
      return { spec, parts: ordered };
    });
    const { source, stored } = storedTensorOf(files, name, tensor);
    const run = { sources: [source], sinks: addresses.targets };
    const encode = async (): Promise<readonly Loss[]> => {
      const unit = { tensor: stored, orders, nonFinite };
      if (!isLarge(stored, share)) {
        const made = await schedule.run(name, bytesOfTensor(tensor), encodeWork, run, unit);
        return finish(run, stored, orders, [made]);
      }
      const cutOptions = { schedule, files: run, share, nonFinite };
      const large = orders.map(async (order) => {
        const cut = codecOf(order.spec).cut(stored, order.spec, cutOptions);
        // At once where nothing has to be found first: work is done in the order of the file.
        const stretches = cut instanceof Promise ? await cut : cut;
        const units = stretches.map((stretch) => ({ ...unit, ...stretch, orders: [order] }));
        const made = await allInOrder(units.map((each) => schedule.run(name, 0, encodeWork, run, each)));
        return (await finish(run, stored, [order], made))[0]!;
      });
      return allInOrder(large).finally(() => tracker.advance(bytesOfTensor(tensor)));
    };
    const found = await withErrorContext(files.source.name, name, encode());
    same.forEach((alike, i) => {
      for (const job of alike) losses.set(job, found[i]!);
    });
  };
  await allInOrder(groupsOf(files, jobs).map(doGroup));
  return losses;
}

/** Constants of more bytes are shared by workers. */
const WORTH_SHARING = 1 << 26;

/** Whether a constant is cut: too large for one worker's memory, or worth sharing among several. */
function isLarge(tensor: StoredTensor, share: number): boolean {
  return roomFor(tensor, elementsOf(tensor.shape)) > share || sizeOf(tensor) >= WORTH_SHARING;
}

/** Writes what stretches share, once all are encoded; what each order's constant lost. */
async function finish(
  files: Files,
  tensor: StoredTensor,
  orders: readonly Order[],
  stretches: readonly (readonly EncodedStretch[])[],
): Promise<Loss[]> {
  return allInOrder(
    orders.map(async ({ spec, parts }, i) => {
      const codec = codecOf(spec);
      const written = parts.map((_, part) => stretches.reduce((sum, each) => sum + each[i]!.written[part]!, 0));
      const shared = stretches.flatMap((each) => each[i]!.shared);
      if (shared.length > 0) {
        const { part, offset, bytes } = codec.joined!(spec, shared);
        await writePart(files, parts[part]!, offset, bytes);
        written[part]! += bytes.byteLength;
      }
      parts.forEach(({ byteLength }, part) => {
        if (Math.ceil(written[part]!) < byteLength)
          throw new Error(`${written[part]} bytes made, ${byteLength} planned`);
      });
      return codec.lossOf(
        stretches.flatMap((each) => each[i]!.sums),
        tensor,
      );
    }),
  );
}

/** Bytes of the weights that jobs are for, those that several share once. */
export function bytesReadBy(files: TensorFiles, jobs: readonly Job[]): number {
  return groupsOf(files, jobs).reduce((sum, [{ constant }]) => sum + bytesOfTensor(constant.tensor), 0);
}

type Group = [Job, ...Job[]];

/** Jobs on the same numbers together, at the place of the first: models read from one file have them at one place. */
function groupsOf(files: TensorFiles, jobs: readonly Job[]): Group[] {
  const numbers = new Map<ByteSource, number>();
  return together(jobs, ({ constant: { tensor } }) => {
    const place = files.placeOf(tensor);
    if (!place) return tensor;
    if (!numbers.has(place.source)) numbers.set(place.source, numbers.size);
    return [numbers.get(place.source), place.start, tensor.type, ...tensor.shape].join();
  });
}

/** Jobs that make the same bytes together. */
function alikeIn(group: Group): Group[] {
  return together(group, keyOf);
}

function together(jobs: readonly Job[], keyOf: (job: Job) => unknown): Group[] {
  const groups = new Map<unknown, Group>();
  for (const job of jobs) {
    const key = keyOf(job);
    const group = groups.get(key);
    if (group) group.push(job);
    else groups.set(key, [job]);
  }
  return [...groups.values()];
}
