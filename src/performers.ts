import { compressedWork } from "./checkpoint/compressed-tensors/work.ts";
import { halfWork } from "./checkpoint/half-work.ts";
import { restoreWork } from "./checkpoint/restore.ts";
import { plainWork } from "./checkpoint/work.ts";
import { narrowPartsWork } from "./onnx/half/parts.ts";
import { affinePartsWork } from "./onnx/jobs/affine-parts.ts";
import { matrixPartsWork } from "./onnx/jobs/matrix-parts.ts";
import { jobWork } from "./onnx/jobs/work.ts";
import { measureWork, rangeWork } from "./streams/affine.ts";
import { copyWork } from "./streams/copy.ts";
import { inspectWork } from "./streams/inspect.ts";
import type { Work } from "./task/work.ts";

/** All work that can be given to another thread, by its name there. */
export const performers: ReadonlyMap<string, Work<never, unknown>> = new Map(
  [
    copyWork,
    rangeWork,
    measureWork,
    inspectWork,
    plainWork,
    compressedWork,
    halfWork,
    restoreWork,
    jobWork,
    affinePartsWork,
    matrixPartsWork,
    narrowPartsWork,
  ].map((work) => [work.name, work]),
);
