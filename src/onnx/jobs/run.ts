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
 * written and the next one read. What several want of the same numbers is read once, and made once where it is the same.
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
      for (const [job, ...alike] of alikeIn(group)) {
        const shelf = shelves[turn++ % 2]!;
        const { loss, bytes } = nameFile(files.source.name, name, () => job.make(values, { engine, nonFinite, shelf }));
        for (const each of [job, ...alike]) losses.set(each, loss);
        await writing;
        writing = writeParts(bytes, [job, ...alike], addresses);
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

/** Bytes of the weights that jobs are for, those that several share once. */
export function bytesReadBy(files: TensorFiles, jobs: readonly Job[]): number {
  return groupsOf(files, jobs).reduce((sum, [{ constant }]) => sum + bytesOfTensor(constant.tensor), 0);
}

/** Writes what one of several jobs made to the places of all of them. */
async function writeParts(made: Made["bytes"], jobs: Group, addresses: Addresses): Promise<void> {
  const [first] = jobs;
  for (const [pending, bytes] of made) {
    const part = first.parts.indexOf(pending);
    await Promise.all(jobs.map(({ parts }) => addresses.write(parts[part]!, bytes)));
  }
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
  return together(group, ({ key }) => key);
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
