import type { Engine } from "../../core/engine.ts";
import type { NonFinite } from "../../core/options.ts";
import type { ByteSource } from "../../formats/source.ts";
import { nameFile } from "../../task/blame.ts";
import type { Tracker } from "../../task/progress.ts";
import { bytesOfTensor, type TensorFiles } from "../data.ts";
import { Loader } from "../load.ts";
import type { Addresses } from "../write.ts";
import { type Job, type Loss, type Made, Shelf } from "./job.ts";

/**
 * Does jobs one after the other and writes what they make to its place: while one is worked on, the one before is being
 * written and the next one read. Jobs on one constant that follow each other share what was read.
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
  const groups = groupsOf(files, jobs);
  const wanted = groups.map(([{ constant }]) => ({ name: constant.name, tensor: constant.tensor }));
  const loader = new Loader(engine, files, wanted);
  const shelves = [new Shelf(), new Shelf()];
  let turn = 0;
  let writing: Promise<void> = Promise.resolve();
  try {
    for (const group of groups) {
      const { name, tensor } = group[0].constant;
      await tracker.at(name);
      const values = await loader.next();
      for (const job of group) {
        const shelf = shelves[turn++ % 2]!;
        const { loss, bytes } = nameFile(files.source.name, name, () => job.make(values, { engine, nonFinite, shelf }));
        losses.set(job, loss);
        await writing;
        writing = writeParts(bytes, addresses);
        writing.catch(() => {}); // heard of when it is waited for
      }
      tracker.advance(bytesOfTensor(tensor));
    }
    await writing;
    return losses;
  } finally {
    await writing.catch(() => {});
    await loader.dispose();
  }
}

async function writeParts(parts: Made["bytes"], addresses: Addresses): Promise<void> {
  for (const [pending, bytes] of parts) await addresses.write(pending, bytes);
}

type Group = [Job, ...Job[]];

/** Jobs on the same numbers together, at the place of the first: models read from one file have them at one place. */
function groupsOf(files: TensorFiles, jobs: readonly Job[]): Group[] {
  const groups = new Map<unknown, Group>();
  const numbers = new Map<ByteSource, number>();
  for (const job of jobs) {
    const { tensor } = job.constant;
    const place = files.placeOf(tensor);
    if (place && !numbers.has(place.source)) numbers.set(place.source, numbers.size);
    const key = place ? [numbers.get(place.source), place.start, tensor.type, ...tensor.shape].join() : tensor;
    const group = groups.get(key);
    if (group) group.push(job);
    else groups.set(key, [job]);
  }
  return [...groups.values()];
}
