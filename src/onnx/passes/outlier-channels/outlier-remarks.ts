import { type Remark, remark } from "../../../pipeline/model-report.ts";
import { listNames } from "../../../pipeline/phrases.ts";
import type { Channels } from "./fold-gain.ts";
import type { NormGroup } from "./norm-groups.ts";

/** A group whose outlier channels are worth folding. */
export interface Outliers {
  readonly group: NormGroup;
  readonly channels: Channels;
  /** What each channel is divided by. */
  readonly factors: Float32Array;
}

/** Lines on outlier channels that were folded, and on those that stay, one for each reason. */
export function remarksOnOutliers(folded: readonly Outliers[], left: readonly Outliers[]): Remark[] {
  const byObstacle = new Map<string, Outliers[]>();
  for (const each of left) {
    const { obstacle = "" } = each.group;
    byObstacle.set(obstacle, [...(byObstacle.get(obstacle) ?? []), each]);
  }
  const stay = Array.from(byObstacle, ([obstacle, all]) => {
    const text = `outlier channels take precision from the others where activations are quantized`;
    return remark("outlier-channels", `${text}, and cannot be folded into the weights: ${listed(all)} (${obstacle})`);
  });
  if (folded.length === 0) return stay;
  return [remark("scales-folded", `outlier channels folded into the weights behind: ${listed(folded)}`), ...stay];
}

/** Norms by name, and how uneven their scales are. */
function listed(outliers: readonly Outliers[]): string {
  const labels = outliers.flatMap(({ group: { norms }, channels: { scale } }) => {
    const sizes = Array.from(scale, Math.abs).sort((a, b) => a - b);
    const [median, largest] = [sizes[sizes.length >> 1]!, sizes.at(-1)!].map((size) => Number(size.toPrecision(3)));
    return norms.map(({ node, label, output }) => {
      return `${label} ${JSON.stringify(node.name || output)} with scales up to ${largest}, their median ${median}`;
    });
  });
  return listNames(labels);
}
