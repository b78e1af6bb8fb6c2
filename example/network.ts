import {
  type Convolution,
  convolve,
  convolveBackward,
  linear,
  linearBackward,
  relu,
  reluBackward,
  reluPool,
  reluPoolBackward,
} from "./layers.ts";
import type { Random } from "./random.ts";

/** A weight or a bias, under the name and in the layout that PyTorch would give it. */
export interface Parameter {
  name: string;
  shape: readonly number[];
  values: Float32Array<ArrayBuffer>;
  /** Summed over the images since it was last cleared. */
  gradient: Float32Array<ArrayBuffer>;
}

export interface Network {
  /** In the order of the layers, weight before bias. */
  readonly parameters: readonly Parameter[];
  /** The scores [10] of an image [20, 20] of bytes; overwritten by the next call. */
  forward(pixels: Uint8Array): Float32Array;
  /** Adds the gradients of the image that `forward` saw last, and returns its loss (cross-entropy). */
  backward(label: number): number;
}

const conv1: Convolution = { inputs: 1, outputs: 8, kernel: 5, size: 20 };
const conv2: Convolution = { inputs: 8, outputs: 16, kernel: 3, size: 10 };
const features = 16 * 5 * 5;
const hidden = 96;
const classes = 10;

/** He's initialisation: deviation sqrt(2 / inputs of one output); biases start at zero. */
function initialize(random: Random, name: string, shape: readonly number[]): [weight: Parameter, bias: Parameter] {
  const outputs = shape[0]!;
  const count = shape.reduce((product, dim) => product * dim, 1);
  const deviation = Math.sqrt((2 * outputs) / count);
  return [
    {
      name: `${name}.weight`,
      shape,
      values: Float32Array.from({ length: count }, () => random.normal(deviation)),
      gradient: new Float32Array(count),
    },
    {
      name: `${name}.bias`,
      shape: [outputs],
      values: new Float32Array(outputs),
      gradient: new Float32Array(outputs),
    },
  ];
}

/** conv1, relu, pool, conv2, relu, pool, fc1, relu, fc2, with random weights. */
export function createNetwork(random: Random): Network {
  const [w1, b1] = initialize(random, "conv1", [conv1.outputs, conv1.inputs, conv1.kernel, conv1.kernel]);
  const [w2, b2] = initialize(random, "conv2", [conv2.outputs, conv2.inputs, conv2.kernel, conv2.kernel]);
  const [w3, b3] = initialize(random, "fc1", [hidden, features]);
  const [w4, b4] = initialize(random, "fc2", [classes, hidden]);

  const image = new Float32Array(20 * 20);
  const maps1 = new Float32Array(8 * 20 * 20);
  const pooled1 = new Float32Array(8 * 10 * 10);
  const winners1 = new Int32Array(pooled1.length);
  const maps2 = new Float32Array(16 * 10 * 10);
  const pooled2 = new Float32Array(features);
  const winners2 = new Int32Array(pooled2.length);
  const activations = new Float32Array(hidden);
  const scores = new Float32Array(classes);

  const maps1Gradient = new Float32Array(maps1.length);
  const pooled1Gradient = new Float32Array(pooled1.length);
  const maps2Gradient = new Float32Array(maps2.length);
  const pooled2Gradient = new Float32Array(pooled2.length);
  const activationsGradient = new Float32Array(hidden);
  const scoresGradient = new Float32Array(classes);

  return {
    parameters: [w1, b1, w2, b2, w3, b3, w4, b4],

    forward(pixels) {
      for (let i = 0; i < image.length; i++) image[i] = pixels[i]! / 255;
      convolve(conv1, image, w1.values, b1.values, maps1);
      reluPool(conv1.size, maps1, pooled1, winners1);
      convolve(conv2, pooled1, w2.values, b2.values, maps2);
      reluPool(conv2.size, maps2, pooled2, winners2);
      linear(pooled2, w3.values, b3.values, activations);
      relu(activations);
      linear(activations, w4.values, b4.values, scores);
      return scores;
    },

    backward(label) {
      const loss = crossEntropy(scores, label, scoresGradient);
      linearBackward(activations, w4.values, scoresGradient, w4.gradient, b4.gradient, activationsGradient);
      reluBackward(activations, activationsGradient);
      linearBackward(pooled2, w3.values, activationsGradient, w3.gradient, b3.gradient, pooled2Gradient);
      reluPoolBackward(pooled2Gradient, winners2, maps2Gradient);
      convolveBackward(conv2, pooled1, w2.values, maps2Gradient, w2.gradient, b2.gradient, pooled1Gradient);
      reluPoolBackward(pooled1Gradient, winners1, maps1Gradient);
      convolveBackward(conv1, image, w1.values, maps1Gradient, w1.gradient, b1.gradient, null);
      return loss;
    },
  };
}

/** The loss of softmax(`scores`) against `label`; `gradient` takes its derivative by the scores. */
function crossEntropy(scores: Float32Array, label: number, gradient: Float32Array): number {
  const largest = Math.max(...scores);
  let total = 0;
  for (const score of scores) total += Math.exp(score - largest);
  for (let i = 0; i < scores.length; i++) gradient[i] = Math.exp(scores[i]! - largest) / total;
  gradient[label]! -= 1;
  return Math.log(total) + largest - scores[label]!;
}

/** The index of the largest score. */
export function argmax(scores: Float32Array): number {
  let best = 0;
  for (let i = 1; i < scores.length; i++) if (scores[i]! > scores[best]!) best = i;
  return best;
}
