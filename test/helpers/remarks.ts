import type { ModelReport } from "../../src/index.ts";

/** The lines of a report's remarks. */
export function remarksOf({ remarks = [] }: Pick<ModelReport, "remarks">): string[] {
  return remarks.map(({ message }) => message);
}
