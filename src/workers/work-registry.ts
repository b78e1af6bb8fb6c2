import { compressedWork } from "../checkpoint/compressed-tensors/compressed-work.ts";
import { halfWork } from "../checkpoint/half-work.ts";
import { dequantizeWork } from "../checkpoint/plain/dequantize-work.ts";
import { plainWork } from "../checkpoint/plain/plain-work.ts";
import { encodeWork } from "../onnx/codecs/encode-and-write.ts";
import { copyWork } from "../pipeline/copy-work.ts";
import { inspectWork } from "../pipeline/inspect-work.ts";
import { measureWork, rangeWork } from "../pipeline/quantize-chunks.ts";
import { searchWork } from "../pipeline/search-ranges.ts";
import type { Work } from "../pipeline/work.ts";

/** All work that can be given to another thread, by its name there. */
export const workRegistry: ReadonlyMap<string, Work<never, unknown>> = new Map(
  [
    copyWork,
    rangeWork,
    searchWork,
    measureWork,
    inspectWork,
    plainWork,
    compressedWork,
    halfWork,
    dequantizeWork,
    encodeWork,
  ].map((work) => [work.name, work]),
);
