import type { NonFinite } from "../../engine/tensors/quantize-options.ts";
import { elementsOf } from "../../engine/tensors/shape.ts";
import { withShelf } from "../../pipeline/buffer-pool.ts";
import { roomFor, type StoredTensor, spanOf, withPart } from "../../pipeline/stored-tensor.ts";
import type { Files, Work } from "../../pipeline/work.ts";
import { makeBnb4 } from "./bnb4-codec.ts";
import type { JobSpec, Loss, Maker } from "./codec.ts";
import { type Order, type OrderedPart, writeInto } from "./codec-order.ts";
import { makeNarrow } from "./half-codec.ts";
import { makeAffine } from "./integer-codec.ts";
import { makeMatrix } from "./nbits-codec.ts";

/** All that is made of one constant. */
export interface JobUnit {
  readonly tensor: StoredTensor;
  readonly orders: readonly Order[];
  readonly nonFinite: NonFinite;
}

const makers: Readonly<Record<JobSpec["kind"], Maker<never>>> = {
  affine: makeAffine,
  matrix: makeMatrix,
  bnb4: makeBnb4,
  narrow: makeNarrow,
};

function makerOf({ kind }: JobSpec): Maker<JobSpec> {
  return makers[kind] as Maker<JobSpec>;
}

/** Makes everything of a constant that is wanted of it; what each lost, in the order asked for. */
export const jobWork: Work<JobUnit, readonly Loss[]> = {
  name: "jobs",
  reads: ({ tensor }) => [spanOf(tensor, { start: 0, length: elementsOf(tensor.shape) })],
  room: ({ tensor }) => roomFor(tensor, elementsOf(tensor.shape)),
  async run(engine, files, { tensor, orders, nonFinite }) {
    const { shape } = tensor;
    const whole = { start: 0, length: elementsOf(shape), shape };
    return withPart(engine, files, tensor, whole, async (values) => {
      const losses: Loss[] = [];
      for (const { spec, parts } of orders) {
        await withShelf(engine, async (shelf) => {
          const made = makerOf(spec)(values, spec, { engine, nonFinite, shelf });
          losses.push(made.loss);
          const writes = made.bytes.map((bytes, i) => writePart(files, parts[i]!, bytes));
          await Promise.all(writes).finally(made.release);
        });
      }
      return losses;
    });
  },
};

async function writePart(files: Files, part: OrderedPart, bytes: Uint8Array): Promise<void> {
  const { byteLength } = part;
  if (bytes.byteLength !== byteLength) throw new Error(`${bytes.byteLength} bytes made, ${byteLength} planned`);
  await writeInto(files, part, 0, bytes);
}
