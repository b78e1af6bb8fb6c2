import type { Parameter } from "./network.ts";

const decay1 = 0.9;
const decay2 = 0.999;
const epsilon = 1e-8;

/**
 * Kingma and Ba's Adam. The function it returns takes one step with the gradients in `parameters`, each the sum over
 * `images` of them, and clears them.
 */
export function createAdam(parameters: readonly Parameter[]): (rate: number, images: number) => void {
  const states = parameters.map(({ values, gradient }) => ({
    values,
    gradient,
    mean: new Float32Array(values.length),
    square: new Float32Array(values.length),
  }));
  let steps = 0;
  return (rate, images) => {
    steps++;
    const correction1 = 1 - decay1 ** steps;
    const correction2 = 1 - decay2 ** steps;
    for (const { values, gradient, mean, square } of states) {
      for (let i = 0; i < values.length; i++) {
        const slope = gradient[i]! / images;
        mean[i] = decay1 * mean[i]! + (1 - decay1) * slope;
        square[i] = decay2 * square[i]! + (1 - decay2) * slope * slope;
        values[i]! -= (rate * (mean[i]! / correction1)) / (Math.sqrt(square[i]! / correction2) + epsilon);
      }
      gradient.fill(0);
    }
  };
}
