/**
 * Writes a safetensors file of 1 GB, float32: `npx tsx bench/models/checkpoint.ts out.safetensors`. Its tensors have the
 * names and shapes of the first ones of a transformer of seven billion weights; the largest is half of the file.
 */
import { open } from "node:fs/promises";
import { elementsOf } from "../../src/engine/tensors/shape.ts";
import { randomOf } from "../../test/helpers/random.ts";
import { blocks } from "../kernel-data.ts";

const HIDDEN = 4096;
const INNER = 11008;
const VOCABULARY = 32000;

interface Tensor {
  readonly name: string;
  readonly shape: readonly number[];
}

/** @param share rows are a `share`th of what they are in the whole file */
function tensorsOf(share: number): Tensor[] {
  const matrix = (name: string, rows: number) => ({ name: `${name}.weight`, shape: [Math.ceil(rows / share), HIDDEN] });
  const layer = (index: number, name: string) => `model.layers.${index}.${name}`;
  return [
    matrix("model.embed_tokens", VOCABULARY),
    { name: `${layer(0, "input_layernorm")}.weight`, shape: [HIDDEN] },
    ...["q", "k", "v", "o"].map((name) => matrix(layer(0, `self_attn.${name}_proj`), HIDDEN)),
    { name: `${layer(0, "post_attention_layernorm")}.weight`, shape: [HIDDEN] },
    matrix(layer(0, "mlp.gate_proj"), INNER),
    matrix(layer(1, "self_attn.q_proj"), HIDDEN),
  ];
}

/** Writes the file a few megabytes at a time; its bytes. Values are seeded noise, dealt out anew to each piece. */
export async function writeCheckpoint(path: string, share = 1): Promise<number> {
  const tensors = tensorsOf(share);
  const random = randomOf(7);
  const { values } = blocks;
  // Twice over, so that a piece may begin anywhere.
  const noise = new Float32Array(2 * values.length);
  noise.set(values.map((value) => 0.02 * value));
  noise.copyWithin(values.length, 0, values.length);

  const file = await open(path, "w");
  try {
    await file.write(headOf(tensors));
    for (const { shape } of tensors) {
      let left = elementsOf(shape);
      while (left > 0) {
        const start = Math.floor(random() * values.length);
        const piece = noise.subarray(start, start + Math.min(left, values.length));
        await file.write(new Uint8Array(piece.buffer, piece.byteOffset, piece.byteLength));
        left -= piece.length;
      }
    }
    return (await file.stat()).size;
  } finally {
    await file.close();
  }
}

function headOf(tensors: readonly Tensor[]): Uint8Array {
  let end = 0;
  const entries = tensors.map(({ name, shape }) => {
    const start = end;
    end += 4 * elementsOf(shape);
    return [name, { dtype: "F32", shape, data_offsets: [start, end] }];
  });
  const text = JSON.stringify(Object.fromEntries(entries));
  const json = new TextEncoder().encode(text.padEnd(Math.ceil(text.length / 8) * 8));
  const head = new Uint8Array(8 + json.length);
  new DataView(head.buffer).setBigUint64(0, BigInt(json.length), true);
  head.set(json, 8);
  return head;
}

if (import.meta.filename === process.argv[1]) {
  const [path] = process.argv.slice(2);
  if (path === undefined) throw new Error("npx tsx bench/models/checkpoint.ts out.safetensors");
  console.log(`${path}: ${await writeCheckpoint(path)} bytes`);
}
