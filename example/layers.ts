/**
 * The layers of the net, forward and backward, one image at a time. Backward adds to the gradients of the weights, so
 * that they sum up over a mini-batch, and overwrites the gradient of the input.
 */

/** A convolution with stride 1 that keeps the size: [inputs, size, size] to [outputs, size, size], odd kernel. */
export interface Convolution {
  inputs: number;
  outputs: number;
  kernel: number;
  size: number;
}

/** `output` = `input` convolved with `weight` [outputs, inputs, kernel, kernel], plus `bias` [outputs]. */
export function convolve(
  { inputs, outputs, kernel, size }: Convolution,
  input: Float32Array,
  weight: Float32Array,
  bias: Float32Array,
  output: Float32Array,
): void {
  const pad = (kernel - 1) / 2;
  const plane = size * size;
  let tap = 0;
  for (let o = 0; o < outputs; o++) {
    output.fill(bias[o]!, o * plane, (o + 1) * plane);
    for (let i = 0; i < inputs; i++) {
      for (let ky = -pad; ky <= pad; ky++) {
        for (let kx = -pad; kx <= pad; kx++, tap++) {
          const w = weight[tap]!;
          const [left, right] = [Math.max(0, -kx), Math.min(size, size - kx)];
          for (let y = Math.max(0, -ky); y < Math.min(size, size - ky); y++) {
            const to = o * plane + y * size;
            const from = i * plane + (y + ky) * size + kx;
            for (let x = left; x < right; x++) output[to + x]! += w * input[from + x]!;
          }
        }
      }
    }
  }
}

/** `inputGradient` is null for the first layer, which has nobody to pass it to. */
export function convolveBackward(
  { inputs, outputs, kernel, size }: Convolution,
  input: Float32Array,
  weight: Float32Array,
  outputGradient: Float32Array,
  weightGradient: Float32Array,
  biasGradient: Float32Array,
  inputGradient: Float32Array | null,
): void {
  const pad = (kernel - 1) / 2;
  const plane = size * size;
  inputGradient?.fill(0);
  for (let o = 0; o < outputs; o++) {
    for (let at = 0; at < plane; at++) {
      const gradient = outputGradient[o * plane + at]!;
      // Behind a max pool at least three in four are zero.
      if (gradient === 0) continue;
      biasGradient[o]! += gradient;
      const x = at % size;
      const y = (at - x) / size;
      const [left, right] = [Math.max(-pad, -x), Math.min(pad, size - 1 - x)];
      const [top, bottom] = [Math.max(-pad, -y), Math.min(pad, size - 1 - y)];
      for (let i = 0; i < inputs; i++) {
        const centre = ((o * inputs + i) * kernel + pad) * kernel + pad;
        for (let ky = top; ky <= bottom; ky++) {
          const from = i * plane + (y + ky) * size + x;
          const tap = centre + ky * kernel;
          for (let kx = left; kx <= right; kx++) {
            weightGradient[tap + kx]! += gradient * input[from + kx]!;
            if (inputGradient) inputGradient[from + kx]! += gradient * weight[tap + kx]!;
          }
        }
      }
    }
  }
}

/**
 * Relu, then the largest of each 2 x 2 window: [channels, size, size] to [channels, size / 2, size / 2]. `winners`
 * takes the flat index of each in `input`, or -1 where all four were below zero.
 */
export function reluPool(size: number, input: Float32Array, output: Float32Array, winners: Int32Array): void {
  const half = size / 2;
  for (let at = 0; at < output.length; at++) {
    const x = at % half;
    const first = ((at - x) / half) * 2 * size + 2 * x;
    let best = 0;
    let winner = -1;
    for (let corner = 0; corner < 4; corner++) {
      const candidate = first + (corner >> 1) * size + (corner & 1);
      if (input[candidate]! > best) {
        best = input[candidate]!;
        winner = candidate;
      }
    }
    output[at] = best;
    winners[at] = winner;
  }
}

export function reluPoolBackward(outputGradient: Float32Array, winners: Int32Array, inputGradient: Float32Array): void {
  inputGradient.fill(0);
  for (let at = 0; at < winners.length; at++) {
    if (winners[at]! >= 0) inputGradient[winners[at]!] = outputGradient[at]!;
  }
}

/** `output` [outputs] = `weight` [outputs, inputs] times `input` [inputs], plus `bias` [outputs]. */
export function linear(input: Float32Array, weight: Float32Array, bias: Float32Array, output: Float32Array): void {
  const inputs = input.length;
  for (let o = 0; o < output.length; o++) {
    let sum = bias[o]!;
    for (let i = 0; i < inputs; i++) sum += weight[o * inputs + i]! * input[i]!;
    output[o] = sum;
  }
}

export function linearBackward(
  input: Float32Array,
  weight: Float32Array,
  outputGradient: Float32Array,
  weightGradient: Float32Array,
  biasGradient: Float32Array,
  inputGradient: Float32Array,
): void {
  const inputs = input.length;
  inputGradient.fill(0);
  for (let o = 0; o < outputGradient.length; o++) {
    const gradient = outputGradient[o]!;
    if (gradient === 0) continue;
    biasGradient[o]! += gradient;
    for (let i = 0; i < inputs; i++) {
      weightGradient[o * inputs + i]! += gradient * input[i]!;
      inputGradient[i]! += gradient * weight[o * inputs + i]!;
    }
  }
}

/** In place. */
export function relu(values: Float32Array): void {
  for (let i = 0; i < values.length; i++) if (values[i]! < 0) values[i] = 0;
}

/** In place: no gradient passes where the output of the relu was zero. */
export function reluBackward(output: Float32Array, gradient: Float32Array): void {
  for (let i = 0; i < gradient.length; i++) if (output[i] === 0) gradient[i] = 0;
}
