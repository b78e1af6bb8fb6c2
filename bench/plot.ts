import * as echarts from "echarts";
import type { Work } from "./peers/peer.ts";
import { formatElements, type PeerFigure } from "./peers.ts";

export const WIDTH = 1100;
export const HEIGHT = 460;

/** Who is drawn, and how. Lines end in their labels. */
const styles: Readonly<Record<string, { readonly label: string; readonly color: string; readonly width: number }>> = {
  "wasm-quant": { label: "wasm-quant", color: "#d1242f", width: 3.5 },
  "memory.copy": { label: "memory.copy", color: "#8c959f", width: 2 },
  "onnxruntime-node": { label: "onnxruntime-node", color: "#0969da", width: 2 },
  "onnxruntime-web": { label: "onnxruntime-web", color: "#1a7f37", width: 2 },
  "tfjs-backend-wasm": { label: "tfjs-backend-wasm", color: "#bc4c00", width: 2 },
  "plain JavaScript": { label: "plain JavaScript", color: "#6e40c9", width: 2 },
};

const panels: readonly { readonly work: Work; readonly title: string }[] = [
  { work: "QuantizeLinear", title: "QuantizeLinear: float32 to int8, given scale" },
  { work: "DynamicQuantizeLinear", title: "DynamicQuantizeLinear: range, then float32 to uint8" },
];

const INK = "#1f2328";
const GREY = "#59636e";
const GRID = "#d8dee4";
const LEFT = 62;
const TOP = 66;
const PANEL = { width: 345, height: 316 };
const BETWEEN = 185;

/** Pixels from a label to the next. */
const LINE = 16;

/** The most elements: 32 Mi. */
const LARGEST = 2 ** 25;

/** Throughput over size, a panel for each operator: what echarts is to draw. */
export function plotOption(figures: readonly PeerFigure[], subtitle: string) {
  const drawn = figures.filter(({ name }) => name in styles);
  const [lowest, highest] = decadesOf(drawn.map(({ rate }) => rate));
  const lefts = panels.map((_, i) => LEFT + i * (PANEL.width + BETWEEN));
  const text = { fontFamily: "system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif", color: INK };
  const small = { ...text, fontSize: 12, fontWeight: "normal" } as const;
  const lines = (work: Work, index: number) => {
    const found = Object.entries(styles)
      .map(([name, style]) => ({ name, ...style, points: drawn.filter((f) => f.work === work && f.name === name) }))
      .filter(({ points }) => points.length > 0);
    const ends = found.map(({ points }) => heightOf(points.at(-1)!.rate, lowest, highest));
    const places = apart(ends, LINE);
    return found.map(({ name, label, color, width, points }, i) => ({
      type: "line" as const,
      silent: true,
      name: label,
      xAxisIndex: index,
      yAxisIndex: index,
      data: points.map(({ elements, rate }) => [elements, rate] as const),
      symbol: "circle",
      symbolSize: 5,
      z: name === "wasm-quant" ? 3 : 2,
      lineStyle: { color, width, type: name === "memory.copy" ? ("dashed" as const) : ("solid" as const) },
      itemStyle: { color },
      endLabel: {
        show: true,
        distance: 8,
        offset: [0, places[i]! - ends[i]!] as const,
        formatter: label,
        color,
        fontSize: 12,
        fontWeight: "bold" as const,
      },
    }));
  };
  return {
    animation: false,
    backgroundColor: "#ffffff",
    textStyle: text,
    title: [
      ...panels.map(({ title }, i) => ({
        text: title,
        left: lefts[i]!,
        top: 8,
        textStyle: { ...text, fontSize: 14, fontWeight: "bold" as const },
      })),
      ...panels.map((_, i) => ({ text: "GB/s of float32", left: lefts[i]!, top: 32, textStyle: small })),
      { text: subtitle, left: LEFT, top: HEIGHT - 30, textStyle: { ...small, color: GREY } },
    ],
    grid: lefts.map((left) => ({ left, top: TOP, ...PANEL })),
    xAxis: panels.map((_, gridIndex) => ({
      gridIndex,
      type: "log" as const,
      logBase: 4,
      min: 2 ** 14,
      max: LARGEST,
      name: "elements",
      nameLocation: "middle" as const,
      nameGap: 26,
      nameTextStyle: small,
      axisLabel: { ...small, showMaxLabel: true, formatter: tickLabel },
      axisLine: { show: true, lineStyle: { color: INK } },
      splitLine: { lineStyle: { color: GRID } },
    })),
    yAxis: panels.map((_, gridIndex) => ({
      gridIndex,
      type: "log" as const,
      min: lowest,
      max: highest,
      axisLabel: small,
      splitLine: { lineStyle: { color: GRID } },
      minorSplitLine: { show: true, lineStyle: { color: "#f0f2f4" } },
      minorTick: { show: true, splitNumber: 9 },
    })),
    series: panels.flatMap(({ work }, index) => lines(work, index)),
  };
}

/** The powers of ten around all values. */
function decadesOf(values: readonly number[]): [number, number] {
  return [10 ** Math.floor(Math.log10(Math.min(...values))), 10 ** Math.ceil(Math.log10(Math.max(...values)))];
}

/** Where a rate is drawn, in pixels from the top of its panel. */
function heightOf(rate: number, lowest: number, highest: number): number {
  return (PANEL.height * Math.log(highest / rate)) / Math.log(highest / lowest);
}

/** The places nearest to `wanted`, by least squares, in the same order and at least `gap` from each other. */
export function apart(wanted: readonly number[], gap: number): number[] {
  const order = wanted.map((_, i) => i).sort((a, b) => wanted[a]! - wanted[b]!);
  const runs: { sum: number; count: number }[] = [];
  for (const [rank, i] of order.entries()) {
    runs.push({ sum: wanted[i]! - rank * gap, count: 1 });
    for (let last = runs.length - 1; last > 0; last--) {
      const [before, after] = [runs[last - 1]!, runs[last]!];
      if (before.sum / before.count <= after.sum / after.count) break;
      runs.splice(last - 1, 2, { sum: before.sum + after.sum, count: before.count + after.count });
    }
  }
  const places = new Array<number>(wanted.length);
  const starts = runs.flatMap(({ sum, count }) => new Array<number>(count).fill(sum / count));
  for (const [rank, i] of order.entries()) places[i] = starts[rank]! + rank * gap;
  return places;
}

/** Of 16 Mi there is none: it would touch that of the largest. */
function tickLabel(elements: number): string {
  const near = Math.round(elements);
  return near === LARGEST / 2 ? "" : formatElements(near);
}

/** An SVG with a background of its own, so that it can be read on light and dark pages. */
export function renderPlot(option: ReturnType<typeof plotOption>): string {
  const chart = echarts.init(null, null, { renderer: "svg", ssr: true, width: WIDTH, height: HEIGHT });
  chart.setOption(option);
  const svg = chart.renderToSVGString();
  chart.dispose();
  // Without styles for a pointer, of no use in an image, and the numbers that count charts.
  const still = svg.replace(/<style[\s\S]*<\/style>\s*/, "").replace(/ class="[^"]*"/g, "");
  return `${still.trimEnd().replace(/\bzr\d+-/g, "zr-")}\n`;
}
