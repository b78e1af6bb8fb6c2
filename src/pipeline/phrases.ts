/** The first names of a list, for a line of text: "a, b, c, ...". */
export function listNames(names: readonly string[], most = 3): string {
  return `${names.slice(0, most).join(", ")}${names.length > most ? ", ..." : ""}`;
}

/** Reasons that are named. */
const MOST_REASONS = 4;

/** Why things stay as they are, the commonest reason first: "a (3), b (1)". */
export function listReasons(reasons: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const reason of reasons) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  const sorted = [...counts].sort((a, b) => b[1] - a[1]);
  const named = sorted.map(([reason, count]) => (counts.size === 1 ? reason : `${reason} (${count})`));
  return listNames(named, MOST_REASONS);
}
