/**
 * The loops people write today, over typed arrays and into outputs made beforehand. The columns forms are for
 * channel-last data: `x[row * columns + column]`, with a parameter for each column.
 */
export type Codes = Int8Array | Uint8Array | Int16Array | Uint16Array | Int32Array;

export function range(x: Float32Array): number {
  let min = Number.POSITIVE_INFINITY;
  let max = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < x.length; i++) {
    const value = x[i]!;
    if (value < min) min = value;
    if (value > max) max = value;
  }
  return max - min;
}

export function rangeColumns(x: Float32Array, columns: number): number {
  const min = new Float32Array(columns).fill(Number.POSITIVE_INFINITY);
  const max = new Float32Array(columns).fill(Number.NEGATIVE_INFINITY);
  for (let row = 0; row < x.length; row += columns) {
    for (let c = 0; c < columns; c++) {
      const value = x[row + c]!;
      if (value < min[c]!) min[c] = value;
      if (value > max[c]!) max[c] = value;
    }
  }
  return max[0]! - min[0]!;
}

export function absMax(x: Float32Array): number {
  let max = 0;
  for (let i = 0; i < x.length; i++) {
    const value = Math.abs(x[i]!);
    if (value > max) max = value;
  }
  return max;
}

export function absMaxColumns(x: Float32Array, columns: number): number {
  const max = new Float32Array(columns);
  for (let row = 0; row < x.length; row += columns) {
    for (let c = 0; c < columns; c++) {
      const value = Math.abs(x[row + c]!);
      if (value > max[c]!) max[c] = value;
    }
  }
  return max[0]!;
}

export function quantize(
  x: Float32Array,
  q: Codes,
  scale: number,
  zeroPoint: number,
  lowest: number,
  highest: number,
): void {
  for (let i = 0; i < x.length; i++) {
    q[i] = Math.max(lowest, Math.min(highest, Math.round(x[i]! / scale) + zeroPoint));
  }
}

export function quantizeColumns(
  x: Float32Array,
  q: Codes,
  scales: Float32Array,
  zeroPoints: Int32Array,
  lowest: number,
  highest: number,
): void {
  const columns = scales.length;
  for (let row = 0; row < x.length; row += columns) {
    for (let c = 0; c < columns; c++) {
      const rounded = Math.round(x[row + c]! / scales[c]!) + zeroPoints[c]!;
      q[row + c] = Math.max(lowest, Math.min(highest, rounded));
    }
  }
}

/** Scan and quantize, symmetric, a scale for each of `channels`, whose dimension has `inner` elements behind each of its own. */
export function perChannel(x: Float32Array, q: Int8Array, scales: Float32Array, channels: number, inner: number): void {
  const magnitudes = new Float32Array(channels);
  const row = channels * inner;
  for (let start = 0; start < x.length; start += row) {
    for (let c = 0; c < channels; c++) {
      for (let i = start + c * inner; i < start + (c + 1) * inner; i++) {
        const value = Math.abs(x[i]!);
        if (value > magnitudes[c]!) magnitudes[c] = value;
      }
    }
  }
  for (let c = 0; c < channels; c++) scales[c] = magnitudes[c]! / 127;
  for (let start = 0; start < x.length; start += row) {
    for (let c = 0; c < channels; c++) {
      const scale = scales[c]!;
      for (let i = start + c * inner; i < start + (c + 1) * inner; i++) {
        q[i] = Math.max(-127, Math.min(127, Math.round(x[i]! / scale)));
      }
    }
  }
}

/** DynamicQuantizeLinear: the range widened to hold 0, mapped onto 0 to 255. */
export function dynamicQuantize(x: Float32Array, q: Uint8Array): void {
  let min = 0;
  let max = 0;
  for (let i = 0; i < x.length; i++) {
    const value = x[i]!;
    if (value < min) min = value;
    if (value > max) max = value;
  }
  const scale = (max - min) / 255;
  const zeroPoint = Math.round(-min / scale);
  for (let i = 0; i < x.length; i++) {
    q[i] = Math.max(0, Math.min(255, Math.round(x[i]! / scale) + zeroPoint));
  }
}

export function quantizeFloatOffset(
  x: Float32Array,
  q: Codes,
  min: number,
  range: number,
  lowest: number,
  highest: number,
): void {
  for (let i = 0; i < x.length; i++) {
    q[i] = Math.round(((x[i]! - min) / range) * (highest - lowest) + lowest);
  }
}

export function quantizeFloatOffsetColumns(
  x: Float32Array,
  q: Codes,
  mins: Float32Array,
  ranges: Float32Array,
  lowest: number,
  highest: number,
): void {
  const columns = mins.length;
  for (let row = 0; row < x.length; row += columns) {
    for (let c = 0; c < columns; c++) {
      q[row + c] = Math.round(((x[row + c]! - mins[c]!) / ranges[c]!) * (highest - lowest) + lowest);
    }
  }
}

export function dequantize(q: Codes, x: Float32Array, scale: number, zeroPoint: number): void {
  for (let i = 0; i < x.length; i++) x[i] = (q[i]! - zeroPoint) * scale;
}

export function dequantizeColumns(q: Codes, x: Float32Array, scales: Float32Array, zeroPoints: Int32Array): void {
  const columns = scales.length;
  for (let row = 0; row < x.length; row += columns) {
    for (let c = 0; c < columns; c++) x[row + c] = (q[row + c]! - zeroPoints[c]!) * scales[c]!;
  }
}

export function dequantizeFloatOffset(q: Codes, x: Float32Array, scale: number, min: number, lowest: number): void {
  for (let i = 0; i < x.length; i++) x[i] = (q[i]! - lowest) * scale + min;
}

export function dequantizeFloatOffsetColumns(
  q: Codes,
  x: Float32Array,
  scales: Float32Array,
  mins: Float32Array,
  lowest: number,
): void {
  const columns = scales.length;
  for (let row = 0; row < x.length; row += columns) {
    for (let c = 0; c < columns; c++) x[row + c] = (q[row + c]! - lowest) * scales[c]! + mins[c]!;
  }
}

export function error(a: Float32Array, b: Float32Array): number {
  let squared = 0;
  let dot = 0;
  let aa = 0;
  let bb = 0;
  let largest = 0;
  for (let i = 0; i < a.length; i++) {
    const x = a[i]!;
    const y = b[i]!;
    const e = x - y;
    squared += e * e;
    dot += x * y;
    aa += x * x;
    bb += y * y;
    if (Math.abs(e) > largest) largest = Math.abs(e);
  }
  return squared + largest + dot / Math.sqrt(aa * bb);
}

export function packNibbles(codes: Uint8Array, packed: Uint8Array): void {
  for (let i = 0; i < packed.length; i++) packed[i] = (codes[2 * i]! & 15) | ((codes[2 * i + 1]! & 15) << 4);
}

export function unpackI4(packed: Uint8Array, codes: Int8Array): void {
  for (let i = 0; i < packed.length; i++) {
    codes[2 * i] = (packed[i]! << 28) >> 28;
    codes[2 * i + 1] = (packed[i]! << 24) >> 28;
  }
}

export function unpackU4(packed: Uint8Array, codes: Uint8Array): void {
  for (let i = 0; i < packed.length; i++) {
    codes[2 * i] = packed[i]! & 15;
    codes[2 * i + 1] = packed[i]! >> 4;
  }
}

export function widenBrain(halves: Uint16Array, bits: Uint32Array): void {
  for (let i = 0; i < bits.length; i++) bits[i] = halves[i]! << 16;
}

export function narrowBrain(bits: Uint32Array, halves: Uint16Array): void {
  for (let i = 0; i < bits.length; i++) halves[i] = (bits[i]! + 0x7fff + ((bits[i]! >>> 16) & 1)) >>> 16;
}

export function widenHalf(halves: Uint16Array, x: Float32Array): void {
  for (let i = 0; i < x.length; i++) {
    const half = halves[i]!;
    const sign = half & 0x8000 ? -1 : 1;
    const exponent = (half >> 10) & 31;
    const fraction = half & 0x3ff;
    if (exponent === 0) x[i] = sign * 2 ** -24 * fraction;
    else if (exponent === 31) x[i] = fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
    else x[i] = sign * 2 ** (exponent - 15) * (1 + fraction / 1024);
  }
}

/** Normal values and overflow, as loops for model weights do it: what is too small for a normal half becomes 0. */
export function narrowHalf(bits: Uint32Array, halves: Uint16Array): void {
  for (let i = 0; i < bits.length; i++) {
    const rounded = bits[i]! + 0xfff + ((bits[i]! >>> 13) & 1);
    const sign = (rounded >>> 16) & 0x8000;
    const exponent = ((rounded >>> 23) & 255) - 112;
    if (exponent <= 0) halves[i] = sign;
    else if (exponent >= 31) halves[i] = sign | 0x7c00;
    else halves[i] = sign | (exponent << 10) | ((rounded >>> 13) & 0x3ff);
  }
}
