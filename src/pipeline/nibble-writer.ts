import type { ByteSink } from "../formats/byte-source.ts";

/** Writes 4-bit codes, two to a byte and low nibble first, of stretches that follow one another but may begin within a byte. */
export class NibbleWriter {
  /** The code that waits for its neighbour, and the byte it goes to. */
  #waiting: { readonly code: number; readonly at: number } | undefined;

  /** @param start byte at which the tensor's codes begin */
  constructor(
    private readonly sink: Pick<ByteSink, "write">,
    private readonly start: number,
  ) {}

  /** Writes `length` codes from flat index `first` on, packed from the first of them. */
  async write(first: number, length: number, codes: Uint8Array): Promise<void> {
    if (length === 0) return;
    const isOdd = first % 2 === 1;
    const before = this.#waiting;
    const joined = isOdd ? shifted(codes, length, before?.code ?? 0) : codes;
    const end = first + length;
    const at = this.start + Math.floor(first / 2);
    const whole = Math.floor((end - (first - (isOdd ? 1 : 0))) / 2);
    this.#waiting = end % 2 === 1 ? { code: joined[whole]! & 15, at: this.start + Math.floor(end / 2) } : undefined;
    if (whole > 0) await this.sink.write(at, joined.subarray(0, whole));
  }

  /** The last code of an odd number of them. */
  async end(): Promise<void> {
    if (this.#waiting) await this.sink.write(this.#waiting.at, Uint8Array.of(this.#waiting.code));
    this.#waiting = undefined;
  }
}

/** The same codes from the second nibble on, behind `code`. */
function shifted(codes: Uint8Array, length: number, code: number): Uint8Array {
  const moved = new Uint8Array(Math.ceil((length + 1) / 2));
  let low = code;
  for (let i = 0; i < moved.length; i++) {
    const byte = codes[i] ?? 0;
    moved[i] = low | ((byte & 15) << 4);
    low = byte >> 4;
  }
  return moved;
}

/** Codes packed from the second nibble on, packed from the first one on. */
export function unshifted(codes: Uint8Array, length: number): Uint8Array {
  const moved = new Uint8Array(Math.ceil(length / 2));
  for (let i = 0; i < moved.length; i++) moved[i] = (codes[i]! >> 4) | (((codes[i + 1] ?? 0) & 15) << 4);
  if (length % 2 === 1) moved[moved.length - 1]! &= 15;
  return moved;
}
