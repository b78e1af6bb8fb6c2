/** Rows and columns of a square that stays in the first-level cache, read and written. */
const SQUARE = 64;

/** Bytes of `[..., rows, columns]` as `[..., columns, rows]`. */
export function swapLast(bytes: Uint8Array, shape: readonly number[]): Uint8Array {
  const [rows = 1, columns = 1] = shape.slice(-2);
  const swapped = new Uint8Array(bytes.length);
  for (let start = 0; start < bytes.length; start += rows * columns) {
    for (let top = 0; top < rows; top += SQUARE) {
      const bottom = Math.min(top + SQUARE, rows);
      for (let left = 0; left < columns; left += SQUARE) {
        const right = Math.min(left + SQUARE, columns);
        for (let column = left; column < right; column++) {
          const to = start + column * rows;
          for (let row = top, from = start + top * columns + column; row < bottom; row++, from += columns) {
            swapped[to + row] = bytes[from]!;
          }
        }
      }
    }
  }
  return swapped;
}
