import type { Reporter, TestModule } from "vitest/node";

/** Prints at the end of a run how many tests were skipped, and why: the notes that test/helpers/needs.ts leaves. */
export default class SkippedReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const notes = modules.flatMap((module) => [...module.children.allTests("skipped")].map(noteOf));
    if (notes.length > 0) console.log(`${summaryOf(notes)}\n`);
  }
}

function noteOf(test: { result(): { readonly state: string; readonly note?: string | undefined } }): string {
  return test.result().note ?? "no reason given (a filter, or .skip in the code)";
}

/** A line for each note, the most frequent first. */
export function summaryOf(notes: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const note of notes) counts.set(note, (counts.get(note) ?? 0) + 1);
  const width = String(Math.max(...counts.values())).length;
  const lines = [...counts]
    .sort(([a, m], [b, n]) => n - m || a.localeCompare(b))
    .map(([note, count]) => `  ${String(count).padStart(width)}  ${note}`);
  const plural = notes.length === 1 ? "test was" : "tests were";
  return [`${notes.length} ${plural} skipped:`, ...lines].join("\n");
}
