// The ABI: every kernel the module exports, named <verb><from><to>[Columns]. The TypeScript side of it is the interface in
// src/kernels/abi.ts. Pointers are bytes, lengths elements; nothing is allocated, nothing thrown, and nothing checked
// but for the assertions of a debug build (npm run debug:wasm).

import * as dequantize from "./dequantize-groups";
import * as quantize from "./quantize-groups";

export { absMaxF32, absMaxF32Columns } from "./abs-max";
export { errorF32, lossF32, errorF32Columns } from "./error-sums";
export { convertF16F32, convertBF16F32, convertF32F16, convertF32BF16 } from "./half-conversion";
export { countF32Halves } from "./half-loss";
export { histogramF32, histogramF32Columns } from "./histogram";
export { mseF32, mseF32Columns, hqqF32, hqqF32Columns } from "./nbits-search";
export { packNibbles, unpackI4, unpackU4 } from "./nibbles";
export { roundingErrorF32, roundingErrorF32Columns } from "./rounding-error";
export { quantizeF32I32, quantizeF32I32Columns } from "./quantize-bias";
export { quantizeF32B4 } from "./quantize-bnb4";
export { blocksF32I4, blocksF32U4, blocksF32I8, blocksF32U8 } from "./quantize-fused";
export {
  encodeF32N, encodeF32NColumns, packF32N, packF32NColumns, quantizeF32N, quantizeF32NColumns,
} from "./quantize-nbits";
export { rangeF32, rangeF32Columns, rangeFiniteF32, rangeFiniteF32Columns } from "./range";
export { transposeBytes, transposeF32 } from "./transpose";

// Kernels over groups, a line each, since AssemblyScript exports no instance of a generic function by itself. x, y: source
// and destination; a, b: scales and zero points, or ranges and minima; lo, hi: bounds of the type of codes; o, g, n, l, s, c:
// outer, groups, inner, last, step, columns.

export function quantizeF32I8(x: usize, y: usize, a: usize, b: usize, lo: i32, hi: i32, o: usize, g: usize, n: usize, l: usize, s: usize): void { quantize.rows<i8, i32>(x, y, a, b, lo, hi, 0, 0, o, g, n, l, s); }
export function quantizeF32I8Columns(x: usize, y: usize, a: usize, b: usize, lo: i32, hi: i32, o: usize, g: usize, n: usize, l: usize, s: usize, c: usize): void { quantize.columns<i8, i32>(x, y, a, b, lo, hi, 0, 0, o, g, n, l, s, c); }
export function quantizeF32U8(x: usize, y: usize, a: usize, b: usize, lo: i32, hi: i32, o: usize, g: usize, n: usize, l: usize, s: usize): void { quantize.rows<u8, i32>(x, y, a, b, lo, hi, 0, 0, o, g, n, l, s); }
export function quantizeF32U8Columns(x: usize, y: usize, a: usize, b: usize, lo: i32, hi: i32, o: usize, g: usize, n: usize, l: usize, s: usize, c: usize): void { quantize.columns<u8, i32>(x, y, a, b, lo, hi, 0, 0, o, g, n, l, s, c); }
export function quantizeF32I16(x: usize, y: usize, a: usize, b: usize, lo: i32, hi: i32, o: usize, g: usize, n: usize, l: usize, s: usize): void { quantize.rows<i16, i32>(x, y, a, b, lo, hi, 0, 0, o, g, n, l, s); }
export function quantizeF32I16Columns(x: usize, y: usize, a: usize, b: usize, lo: i32, hi: i32, o: usize, g: usize, n: usize, l: usize, s: usize, c: usize): void { quantize.columns<i16, i32>(x, y, a, b, lo, hi, 0, 0, o, g, n, l, s, c); }
export function quantizeF32U16(x: usize, y: usize, a: usize, b: usize, lo: i32, hi: i32, o: usize, g: usize, n: usize, l: usize, s: usize): void { quantize.rows<u16, i32>(x, y, a, b, lo, hi, 0, 0, o, g, n, l, s); }
export function quantizeF32U16Columns(x: usize, y: usize, a: usize, b: usize, lo: i32, hi: i32, o: usize, g: usize, n: usize, l: usize, s: usize, c: usize): void { quantize.columns<u16, i32>(x, y, a, b, lo, hi, 0, 0, o, g, n, l, s, c); }

export function floatOffsetF32I8(x: usize, y: usize, a: usize, b: usize, lo: i32, hi: i32, levels: f32, base: f32, o: usize, g: usize, n: usize, l: usize, s: usize): void { quantize.rows<i8, f32>(x, y, a, b, lo, hi, levels, base, o, g, n, l, s); }
export function floatOffsetF32I8Columns(x: usize, y: usize, a: usize, b: usize, lo: i32, hi: i32, levels: f32, base: f32, o: usize, g: usize, n: usize, l: usize, s: usize, c: usize): void { quantize.columns<i8, f32>(x, y, a, b, lo, hi, levels, base, o, g, n, l, s, c); }
export function floatOffsetF32U8(x: usize, y: usize, a: usize, b: usize, lo: i32, hi: i32, levels: f32, base: f32, o: usize, g: usize, n: usize, l: usize, s: usize): void { quantize.rows<u8, f32>(x, y, a, b, lo, hi, levels, base, o, g, n, l, s); }
export function floatOffsetF32U8Columns(x: usize, y: usize, a: usize, b: usize, lo: i32, hi: i32, levels: f32, base: f32, o: usize, g: usize, n: usize, l: usize, s: usize, c: usize): void { quantize.columns<u8, f32>(x, y, a, b, lo, hi, levels, base, o, g, n, l, s, c); }
export function floatOffsetF32I16(x: usize, y: usize, a: usize, b: usize, lo: i32, hi: i32, levels: f32, base: f32, o: usize, g: usize, n: usize, l: usize, s: usize): void { quantize.rows<i16, f32>(x, y, a, b, lo, hi, levels, base, o, g, n, l, s); }
export function floatOffsetF32I16Columns(x: usize, y: usize, a: usize, b: usize, lo: i32, hi: i32, levels: f32, base: f32, o: usize, g: usize, n: usize, l: usize, s: usize, c: usize): void { quantize.columns<i16, f32>(x, y, a, b, lo, hi, levels, base, o, g, n, l, s, c); }
export function floatOffsetF32U16(x: usize, y: usize, a: usize, b: usize, lo: i32, hi: i32, levels: f32, base: f32, o: usize, g: usize, n: usize, l: usize, s: usize): void { quantize.rows<u16, f32>(x, y, a, b, lo, hi, levels, base, o, g, n, l, s); }
export function floatOffsetF32U16Columns(x: usize, y: usize, a: usize, b: usize, lo: i32, hi: i32, levels: f32, base: f32, o: usize, g: usize, n: usize, l: usize, s: usize, c: usize): void { quantize.columns<u16, f32>(x, y, a, b, lo, hi, levels, base, o, g, n, l, s, c); }

export function dequantizeI8F32(x: usize, y: usize, a: usize, b: usize, o: usize, g: usize, n: usize, l: usize, s: usize): void { dequantize.rows<i8, i32>(x, y, a, b, 0, o, g, n, l, s); }
export function dequantizeI8F32Columns(x: usize, y: usize, a: usize, b: usize, o: usize, g: usize, n: usize, l: usize, s: usize, c: usize): void { dequantize.columns<i8, i32>(x, y, a, b, 0, o, g, n, l, s, c); }
export function dequantizeU8F32(x: usize, y: usize, a: usize, b: usize, o: usize, g: usize, n: usize, l: usize, s: usize): void { dequantize.rows<u8, i32>(x, y, a, b, 0, o, g, n, l, s); }
export function dequantizeU8F32Columns(x: usize, y: usize, a: usize, b: usize, o: usize, g: usize, n: usize, l: usize, s: usize, c: usize): void { dequantize.columns<u8, i32>(x, y, a, b, 0, o, g, n, l, s, c); }
export function dequantizeI16F32(x: usize, y: usize, a: usize, b: usize, o: usize, g: usize, n: usize, l: usize, s: usize): void { dequantize.rows<i16, i32>(x, y, a, b, 0, o, g, n, l, s); }
export function dequantizeI16F32Columns(x: usize, y: usize, a: usize, b: usize, o: usize, g: usize, n: usize, l: usize, s: usize, c: usize): void { dequantize.columns<i16, i32>(x, y, a, b, 0, o, g, n, l, s, c); }
export function dequantizeU16F32(x: usize, y: usize, a: usize, b: usize, o: usize, g: usize, n: usize, l: usize, s: usize): void { dequantize.rows<u16, i32>(x, y, a, b, 0, o, g, n, l, s); }
export function dequantizeU16F32Columns(x: usize, y: usize, a: usize, b: usize, o: usize, g: usize, n: usize, l: usize, s: usize, c: usize): void { dequantize.columns<u16, i32>(x, y, a, b, 0, o, g, n, l, s, c); }
export function dequantizeI32F32(x: usize, y: usize, a: usize, b: usize, o: usize, g: usize, n: usize, l: usize, s: usize): void { dequantize.rows<i32, i32>(x, y, a, b, 0, o, g, n, l, s); }
export function dequantizeI32F32Columns(x: usize, y: usize, a: usize, b: usize, o: usize, g: usize, n: usize, l: usize, s: usize, c: usize): void { dequantize.columns<i32, i32>(x, y, a, b, 0, o, g, n, l, s, c); }

export function floatOffsetI8F32(x: usize, y: usize, a: usize, b: usize, base: i32, o: usize, g: usize, n: usize, l: usize, s: usize): void { dequantize.rows<i8, f32>(x, y, a, b, base, o, g, n, l, s); }
export function floatOffsetI8F32Columns(x: usize, y: usize, a: usize, b: usize, base: i32, o: usize, g: usize, n: usize, l: usize, s: usize, c: usize): void { dequantize.columns<i8, f32>(x, y, a, b, base, o, g, n, l, s, c); }
export function floatOffsetU8F32(x: usize, y: usize, a: usize, b: usize, base: i32, o: usize, g: usize, n: usize, l: usize, s: usize): void { dequantize.rows<u8, f32>(x, y, a, b, base, o, g, n, l, s); }
export function floatOffsetU8F32Columns(x: usize, y: usize, a: usize, b: usize, base: i32, o: usize, g: usize, n: usize, l: usize, s: usize, c: usize): void { dequantize.columns<u8, f32>(x, y, a, b, base, o, g, n, l, s, c); }
export function floatOffsetI16F32(x: usize, y: usize, a: usize, b: usize, base: i32, o: usize, g: usize, n: usize, l: usize, s: usize): void { dequantize.rows<i16, f32>(x, y, a, b, base, o, g, n, l, s); }
export function floatOffsetI16F32Columns(x: usize, y: usize, a: usize, b: usize, base: i32, o: usize, g: usize, n: usize, l: usize, s: usize, c: usize): void { dequantize.columns<i16, f32>(x, y, a, b, base, o, g, n, l, s, c); }
export function floatOffsetU16F32(x: usize, y: usize, a: usize, b: usize, base: i32, o: usize, g: usize, n: usize, l: usize, s: usize): void { dequantize.rows<u16, f32>(x, y, a, b, base, o, g, n, l, s); }
export function floatOffsetU16F32Columns(x: usize, y: usize, a: usize, b: usize, base: i32, o: usize, g: usize, n: usize, l: usize, s: usize, c: usize): void { dequantize.columns<u16, f32>(x, y, a, b, base, o, g, n, l, s, c); }
