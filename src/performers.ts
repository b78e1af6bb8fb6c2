import { compressedWork } from "./checkpoint/compressed-tensors/work.ts";
import { restoreWork } from "./checkpoint/restore.ts";
import { plainWork } from "./checkpoint/work.ts";
import { jobWork } from "./onnx/jobs/work.ts";
import { measureWork, rangeWork } from "./streams/affine.ts";
import { copyWork } from "./streams/copy.ts";
import type { Work } from "./task/work.ts";

/** All work that can be given to another thread, by its name there. */
export const performers: ReadonlyMap<string, Work<never, unknown>> = new Map(
  [copyWork, rangeWork, measureWork, plainWork, compressedWork, restoreWork, jobWork].map((work) => [work.name, work]),
);
