/**
 * Draws digits, trains a small convolutional net on them and writes the net and some held-out images beside this
 * file. The same run gives the same bytes: everything random comes from the seeds below.
 */
import { writeFile } from "node:fs/promises";
import { type ByteSink, bytesSink } from "../src/formats/byte-source.ts";
import { writeNpy } from "../src/formats/npy.ts";
import { writeSafetensors } from "../src/formats/safetensors.ts";
import { createAdam } from "./adam.ts";
import { drawDigits, size } from "./draw.ts";
import { argmax, createNetwork, type Network } from "./network.ts";
import { encodeOnnx } from "./onnx.ts";
import { createRandom } from "./random.ts";

const seeds = { weights: 1, training: 2, heldOut: 3 };
const epochs = 10;
const imagesPerEpoch = 8000;
const imagesPerStep = 40;
const peakRate = 0.002;
const heldOutImages = 400;

const description = "Handwritten digits 0-9, 20 x 20 grey pixels from 0 to 1: a small convolutional net";

const network = createNetwork(createRandom(seeds.weights));
train(network);

const heldOut = drawDigits(createRandom(seeds.heldOut), heldOutImages);
const correct = countCorrect(network, heldOut.pixels, heldOut.labels);
console.log(`held out  ${percent(correct, heldOutImages)} (${correct} of ${heldOutImages})`);

await writeFiles();

/** Every epoch draws new images, so its accuracy is on images that the net had not seen. */
function train(network: Network): void {
  const random = createRandom(seeds.training);
  const step = createAdam(network.parameters);
  const steps = (epochs * imagesPerEpoch) / imagesPerStep;
  let done = 0;
  for (let epoch = 1; epoch <= epochs; epoch++) {
    const { pixels, labels } = drawDigits(random, imagesPerEpoch);
    let loss = 0;
    let correct = 0;
    for (let i = 0; i < imagesPerEpoch; i++) {
      if (argmax(network.forward(image(pixels, i))) === labels[i]) correct++;
      loss += network.backward(labels[i]!);
      if ((i + 1) % imagesPerStep === 0) step(learningRate(done++ / steps), imagesPerStep);
    }
    const mean = (loss / imagesPerEpoch).toFixed(4);
    console.log(`epoch ${String(epoch).padStart(2)}  loss ${mean}  accuracy ${percent(correct, imagesPerEpoch)}`);
  }
}

/** Falls along half a cosine from its peak to zero; `progress` runs from 0 to 1. */
function learningRate(progress: number): number {
  return (peakRate * (1 + Math.cos(Math.PI * progress))) / 2;
}

function countCorrect(network: Network, pixels: Uint8Array, labels: Uint8Array): number {
  let correct = 0;
  for (let i = 0; i < labels.length; i++) if (argmax(network.forward(image(pixels, i))) === labels[i]) correct++;
  return correct;
}

/** Image `index` of [count, size, size]. */
function image(pixels: Uint8Array, index: number): Uint8Array {
  return pixels.subarray(index * size * size, (index + 1) * size * size);
}

function percent(part: number, whole: number): string {
  return `${((100 * part) / whole).toFixed(2)} %`;
}

async function writeFiles(): Promise<void> {
  const { pixels, labels } = heldOut;
  const tensors = network.parameters.map(({ name, shape, values }) => ({
    name,
    dtype: "F32" as const,
    shape,
    data: new Uint8Array(values.buffer),
  }));
  await save("digits.safetensors", (sink) => writeSafetensors(sink, tensors, { format: "pt", description }));
  await save("digits.onnx", (sink) => sink.write(0, encodeOnnx(network.parameters, description)));
  await save("digits-images.npy", (sink) =>
    writeNpy(sink, { descr: "|u1", shape: [labels.length, size, size], data: pixels }),
  );
  await save("digits-labels.npy", (sink) => writeNpy(sink, { descr: "|u1", shape: [labels.length], data: labels }));
}

async function save(name: string, write: (sink: ByteSink) => Promise<void>): Promise<void> {
  const sink = bytesSink();
  await write(sink);
  await sink.close();
  await writeFile(new URL(name, import.meta.url), sink.result());
  console.log(`${name}  ${sink.result().byteLength} bytes`);
}
