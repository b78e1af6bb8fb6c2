import { elementsOf } from "../../core/shape.ts";
import type { HalfDType } from "../../dtypes.ts";
import type { Job, Loss } from "../jobs/job.ts";
import { opNameOf } from "../ops.ts";
import { NarrowJob, type NarrowLoss } from "./job.ts";
import type { Roles } from "./roles.ts";

/** Which nodes stay float32, a line for each reason, and what is to be known of the type. */
export function remarksOnRoles(roles: Roles, dtype: HalfDType): string[] {
  const byReason = new Map<string, Map<string, number>>();
  for (const [node, reason] of roles.kept) {
    if (reason === "") continue;
    const ops = byReason.get(reason) ?? new Map<string, number>();
    byReason.set(reason, ops.set(opNameOf(node), (ops.get(opNameOf(node)) ?? 0) + 1));
  }
  const kept = Array.from(byReason, ([reason, ops]) => {
    const list = Array.from(ops, ([op, n]) => (n === 1 ? op : `${n} ${op}`)).join(", ");
    return `float32 as before: ${list} (${reason})`;
  });
  return dtype === "bfloat16" ? [...kept, BFLOAT16_RUNS] : kept;
}

/** Its CPU has no Add, MatMul or Conv for it, and casts for float16 alone. */
const BFLOAT16_RUNS =
  "bfloat16 is for GPUs and other runtimes: ONNX Runtime up to 1.30 does not run it on CPUs or the web";

/** What half precision does not hold of the weights, once all jobs are done. */
export function remarksOnLosses(jobs: readonly Job[], losses: ReadonlyMap<Job, Loss>): string[] {
  const narrowed = jobs.filter((job) => job instanceof NarrowJob);
  const dtype = narrowed[0]?.dtype;
  const tell = (what: string, count: (lost: Lost) => number, example?: (lost: Lost) => string) => {
    const told = narrowed.flatMap((job) => {
      const { halves } = losses.get(job) as NarrowLoss;
      const n = count(halves);
      if (n === 0) return [];
      const { name, tensor } = job.constant;
      const such = example ? `, such as ${example(halves)}` : "";
      return [{ n, text: `${name} (${n} of ${elementsOf(tensor.shape)}${such})` }];
    });
    if (told.length === 0) return [];
    const most = told.sort((a, b) => b.n - a.n).slice(0, MOST_TOLD);
    const rest = told.length > most.length ? `, and ${told.length - most.length} more` : "";
    return [`${what}: ${most.map(({ text }) => text).join(", ")}${rest}`];
  };
  return [
    ...tell(
      `beyond ${dtype}, now its largest`,
      ({ clamped }) => clamped,
      ({ first }) => `${first?.value}`,
    ),
    ...tell(`too small for ${dtype}, now its smallest lest they be 0`, ({ raised }) => raised),
    ...tell("NaN or infinite, as before", ({ nonFinite }) => nonFinite),
    ...tell(`too small for ${dtype}, now 0`, ({ zeros }) => zeros),
    ...tell(`too small to keep all bits in ${dtype}`, ({ subnormals }) => subnormals),
  ];
}

type Lost = NarrowLoss["halves"];

/** Tensors that a line names. */
const MOST_TOLD = 3;
