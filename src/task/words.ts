/** The first names of a list, for a line of text: "a, b, c, ...". */
export function listed(names: readonly string[], most = 3): string {
  return `${names.slice(0, most).join(", ")}${names.length > most ? ", ..." : ""}`;
}
