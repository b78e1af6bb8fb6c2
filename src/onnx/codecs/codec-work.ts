import type { NonFinite } from "../../engine/tensors/quantize-options.ts";
import { elementsOf } from "../../engine/tensors/shape.ts";
import { borrowBuffers, giveBuffersBack } from "../../pipeline/buffer-pool.ts";
import { openPart, roomFor, type StoredTensor, spanOf } from "../../pipeline/stored-tensor.ts";
import type { Files, Work } from "../../pipeline/work.ts";
import { encodeBnb4 } from "./bnb4-codec.ts";
import type { Encoder, JobSpec, Loss } from "./codec.ts";
import { type Order, type OrderedPart, writeInto } from "./codec-order.ts";
import { encodeHalf } from "./half-codec.ts";
import { encodeIntegers } from "./integer-codec.ts";
import { encodeNbits } from "./nbits-codec.ts";

/** All that is made of one constant. */
export interface JobUnit {
  readonly tensor: StoredTensor;
  readonly orders: readonly Order[];
  readonly nonFinite: NonFinite;
}

const encoders: Readonly<Record<JobSpec["kind"], Encoder<never>>> = {
  integer: encodeIntegers,
  matrix: encodeNbits,
  bnb4: encodeBnb4,
  narrow: encodeHalf,
};

function encoderOf({ kind }: JobSpec): Encoder<JobSpec> {
  return encoders[kind] as Encoder<JobSpec>;
}

/** Makes everything of a constant that is wanted of it; what each lost, in the order asked for. */
export const jobWork: Work<JobUnit, readonly Loss[]> = {
  name: "jobs",
  reads: ({ tensor }) => [spanOf(tensor, { start: 0, length: elementsOf(tensor.shape) })],
  room: ({ tensor }) => roomFor(tensor, elementsOf(tensor.shape)),
  async run(engine, files, { tensor, orders, nonFinite }) {
    const { shape } = tensor;
    const part = await openPart(engine, files, tensor, { start: 0, length: elementsOf(shape), shape });
    const buffers = borrowBuffers(engine);
    try {
      const losses: Loss[] = [];
      for (const { spec, parts } of orders) {
        const made = encoderOf(spec)(part.values, spec, { engine, nonFinite, buffers });
        losses.push(made.loss);
        const writes = made.bytes.map((bytes, i) => writePart(files, parts[i]!, bytes));
        await Promise.all(writes).finally(made.release);
      }
      return losses;
    } finally {
      giveBuffersBack(engine, buffers);
      part.close();
    }
  },
};

async function writePart(files: Files, part: OrderedPart, bytes: Uint8Array): Promise<void> {
  const { byteLength } = part;
  if (bytes.byteLength !== byteLength) throw new Error(`${bytes.byteLength} bytes made, ${byteLength} planned`);
  await writeInto(files, part, 0, bytes);
}
