/** One block of a matrix: where its values are, and where what is made of them goes. */
export interface Block {
  readonly length: number;
  readonly x: (i: number) => number;
  /** The row of the result, and the place of the block in it. */
  readonly row: number;
  readonly b: number;
}

export function extremesOf({ length, x }: Block) {
  let [min, max] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (let i = 0; i < length; i++) {
    const value = x(i);
    if (value < min) min = value;
    if (value > max) max = value;
  }
  return { min, max, first: x(0) };
}

type Shape = [n: number, k: number, stride: number, size: number];

export function eachBlock(view: DataView, src: number, columns: boolean, shape: Shape, visit: (block: Block) => void) {
  const [n, k, stride, size] = shape;
  for (let row = 0; row < n; row++) {
    for (let b = 0; b * size < k; b++) {
      const index = (i: number) => (columns ? (b * size + i) * stride + row : row * stride + b * size + i);
      const x = (i: number) => view.getFloat32(src + 4 * index(i), true);
      visit({ length: Math.min(size, k - b * size), x, row, b });
    }
  }
}
