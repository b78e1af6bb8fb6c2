import { type Glyph, type Stroke, styles } from "./glyphs.ts";
import type { Random } from "./random.ts";

/** Pixels on a side; an image is [size, size] bytes, 0 for paper and 255 for ink. */
export const size = 20;

/** A piece of a stroke in pixels, with half the width of the pen at each end. */
interface Segment {
  x0: number;
  y0: number;
  r0: number;
  x1: number;
  y1: number;
  r1: number;
}

type Point = readonly [x: number, y: number];
type Warp = (point: Point) => Point;

const stepsPerSpan = 5;

/** Draws `digit` as one person may have written it: a Uint8Array of [size, size]. */
export function drawDigit(random: Random, digit: number): Uint8Array<ArrayBuffer> {
  const glyph = wobble(random, random.pick(styles[digit]!));
  const warp = randomWarp(random);
  const pen = random.uniform(0.5, 1.15);
  const segments = glyph.flatMap((stroke) => strokeSegments(random, stroke, warp, pen));
  if (random.chance(0.3)) segments.push(speck(random));
  return develop(random, coverage(segments));
}

/** `count` digits, 0 to 9 in turn: pixels of [count, size, size], labels of [count]. */
export function drawDigits(
  random: Random,
  count: number,
): { pixels: Uint8Array<ArrayBuffer>; labels: Uint8Array<ArrayBuffer> } {
  const pixels = new Uint8Array(count * size * size);
  const labels = Uint8Array.from({ length: count }, (_, index) => index % 10);
  for (let i = 0; i < count; i++) pixels.set(drawDigit(random, labels[i]!), i * size * size);
  return { pixels, labels };
}

/** No hand hits the same point twice: moves each stroke a little, and each of its knots. */
function wobble(random: Random, glyph: Glyph): Glyph {
  const unsteadiness = random.uniform(0.015, 0.065);
  return glyph.map((stroke) => {
    const [dx, dy] = [random.normal(0.02), random.normal(0.02)];
    return stroke.map(({ x, y, corner }) => ({
      x: x + dx + random.normal(unsteadiness),
      y: y + dy + random.normal(unsteadiness),
      corner,
    }));
  });
}

/** From the unit square to pixels: a bend, then a size, a slant, a turn and a place on the paper. */
function randomWarp(random: Random): Warp {
  const bend = random.normal(0.06);
  const height = random.uniform(10.5, 15.5);
  const width = height * random.uniform(0.5, 0.85);
  const slant = random.normal(0.17) - 0.06;
  const angle = random.normal(0.14);
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  const middle = size / 2;
  const [left, top] = [middle + random.normal(0.9), middle + random.normal(0.9)];
  return ([x, y]) => {
    const v = (y - 0.5) * height;
    const u = (x - 0.5 + bend * (1 - 4 * (y - 0.5) ** 2)) * width + slant * v;
    return [left + u * cos - v * sin, top + u * sin + v * cos];
  };
}

/** A stroke as short segments in pixels; the pen's pressure changes evenly from its start to its end. */
function strokeSegments(random: Random, stroke: Stroke, warp: Warp, pen: number): Segment[] {
  const path = smoothPath(stroke).map(warp);
  const pressure = random.uniform(-0.3, 0.3);
  const radius = (index: number) => pen * (1 + pressure * ((2 * index) / (path.length - 1) - 1));
  return path.slice(1).map(([x1, y1], index) => {
    const [x0, y0] = path[index]!;
    return { x0, y0, r0: radius(index), x1, y1, r1: radius(index + 1) };
  });
}

/** Points along a stroke: a Catmull-Rom spline through its knots, broken at the corners. */
function smoothPath(stroke: Stroke): Point[] {
  const path: Point[] = [[stroke[0]!.x, stroke[0]!.y]];
  for (let i = 0; i + 1 < stroke.length; i++) {
    const [from, to] = [stroke[i]!, stroke[i + 1]!];
    const before = from.corner ? from : (stroke[i - 1] ?? from);
    const after = to.corner ? to : (stroke[i + 2] ?? to);
    for (let step = 1; step <= stepsPerSpan; step++) {
      const t = step / stepsPerSpan;
      path.push([spline(before.x, from.x, to.x, after.x, t), spline(before.y, from.y, to.y, after.y, t)]);
    }
  }
  return path;
}

/** The Catmull-Rom curve from `b` (t = 0) to `c` (t = 1), with neighbours `a` and `d`. */
function spline(a: number, b: number, c: number, d: number, t: number): number {
  return b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)));
}

/** Dirt on the paper, or a slip of the pen. */
function speck(random: Random): Segment {
  const [x0, y0] = [random.uniform(1, size - 1), random.uniform(1, size - 1)];
  const r = random.uniform(0.3, 0.8);
  return { x0, y0, r0: r, x1: x0 + random.normal(1.2), y1: y0 + random.normal(1.2), r1: r };
}

/** How much of each pixel is under ink, 0 to 1, judged by how far its middle is from the nearest segment. */
function coverage(segments: readonly Segment[]): Float32Array {
  const covered = new Float32Array(size * size);
  for (let i = 0; i < covered.length; i++) {
    const [x, y] = [(i % size) + 0.5, Math.floor(i / size) + 0.5];
    let depth = 0;
    for (const segment of segments) depth = Math.max(depth, inkDepth(segment, x, y));
    covered[i] = Math.min(1, depth);
  }
  return covered;
}

/** How far (x, y) is inside the stroke, in pixels, plus the half pixel over which its edge fades. */
function inkDepth({ x0, y0, r0, x1, y1, r1 }: Segment, x: number, y: number): number {
  const [dx, dy] = [x1 - x0, y1 - y0];
  const along = ((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy || 1);
  const t = Math.min(1, Math.max(0, along));
  const distance = Math.sqrt((x - x0 - t * dx) ** 2 + (y - y0 - t * dy) ** 2);
  return r0 + t * (r1 - r0) + 0.5 - distance;
}

/** As a cheap camera sees it: paper that is not quite 0, ink that is not quite 1, noise in every pixel. */
function develop(random: Random, covered: Float32Array): Uint8Array<ArrayBuffer> {
  const paper = random.uniform(0, 0.15);
  const ink = random.uniform(0.5, 1);
  const noise = random.uniform(0.01, 0.09);
  return Uint8Array.from(covered, (cover) => {
    const value = paper + (ink - paper) * cover + random.normal(noise);
    return Math.round(255 * Math.min(1, Math.max(0, value)));
  });
}
