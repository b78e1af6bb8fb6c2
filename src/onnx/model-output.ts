import type { ByteSink } from "../formats/byte-source.ts";
import type { Tracker } from "../pipeline/progress.ts";
import { keyOf } from "./codecs/codec.ts";
import { encodeModel } from "./io/encode.ts";
import { type ExternalDataFile, layOutExternalData } from "./io/external-data-writer.ts";
import { isOutside, type TensorFiles } from "./io/tensor-data.ts";
import { type Addresses, segmentSource, writeSegments } from "./io/write-segments.ts";
import type { Model } from "./ir/graph.ts";
import type { Plan } from "./plan-model.ts";
import { isSpan, lengthOf, type Segment } from "./proto/wire-format.ts";
import { verifyWritten } from "./verify.ts";

/** A changed model, laid out for its file and read back; nothing is written yet. */
export class Output {
  private constructor(
    private readonly sink: ByteSink,
    readonly segments: readonly Segment[],
    private readonly data: ExternalDataFile | undefined,
  ) {}

  /**
   * Tells `addresses` where in the output's data file belongs what is yet to be made.
   *
   * @throws FormatError, ArgumentError when the sink has no room for a data file that is needed
   */
  static async layOut(
    model: Model,
    files: TensorFiles,
    sink: ByteSink,
    { jobs, nodes, drafts }: Pick<Plan, "jobs" | "nodes" | "drafts">,
    { addresses, dataSuffix = ".data" }: { readonly addresses: Addresses; readonly dataSuffix?: string | undefined },
  ): Promise<Output> {
    const outside = jobs.filter(({ constant }) => isOutside(constant.tensor));
    const replacements = outside.map((job) => ({ tensor: job.constant.tensor, parts: job.parts, key: keyOf(job) }));
    const data = await layOutExternalData(model, files, { sink, suffix: dataSuffix }, replacements, addresses);
    const segments = encodeModel(model);
    await verifyWritten(segmentSource(files.source.name, segments), model, nodes, drafts);
    return new Output(sink, segments, data);
  }

  /** Bytes of the model and its data file. */
  get byteLength(): number {
    return lengthOf(this.segments) + (this.data?.byteLength ?? 0);
  }

  /** Bytes that are copied as they are. */
  get copiedBytes(): number {
    return lengthOf(this.segments.filter(isSpan)) + (this.data?.copiedBytes ?? 0);
  }

  /** Writes all that is there, and tells `addresses` where in the model the rest belongs. */
  async write(addresses: Addresses, tracker: Tracker): Promise<void> {
    await writeSegments(this.segments, this.sink, addresses, tracker);
    await this.data?.copy(tracker);
  }
}
