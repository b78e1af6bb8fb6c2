import type { HalfDType } from "../../../dtypes.ts";
import { elementsOf } from "../../../engine/tensors/shape.ts";
import { remarksOnHalves } from "../../../pipeline/half-losses.ts";
import type { Loss } from "../../../pipeline/model-report.ts";
import { type Remark, remark } from "../../../pipeline/model-report.ts";
import type { Job } from "../../codecs/codec.ts";
import { HalfJob, type HalfLoss } from "../../codecs/half-codec.ts";
import { opNameOf } from "../../ir/operators.ts";
import type { Roles } from "./node-precision.ts";

/**
 * Which nodes stay float32, a line for each reason, or for each node where it is a number; and what is to be known of the
 * type.
 */
export function remarksOnRoles(roles: Roles, dtype: HalfDType): Remark[] {
  const byReason = new Map<string, Map<string, number>>();
  const single: Remark[] = [];
  for (const [node, { reason, detail }] of roles.kept) {
    if (reason === "") continue;
    if (detail !== undefined) {
      const who = [opNameOf(node), node.name].filter((name) => name !== "").join(" ");
      single.push(remark("float32-kept", `float32 as before: ${who} (${reason}: ${detail})`));
      continue;
    }
    const ops = byReason.get(reason) ?? new Map<string, number>();
    byReason.set(reason, ops.set(opNameOf(node), (ops.get(opNameOf(node)) ?? 0) + 1));
  }
  const kept = Array.from(byReason, ([reason, ops]) => {
    const list = Array.from(ops, ([op, n]) => (n === 1 ? op : `${n} ${op}`)).join(", ");
    return remark("float32-kept", `float32 as before: ${list} (${reason})`);
  });
  return [...kept, ...single, ...(dtype === "bfloat16" ? [remark("runtime-support", BFLOAT16_RUNS)] : [])];
}

/** Its CPU has no Add, MatMul or Conv for it, and casts for float16 alone. */
const BFLOAT16_RUNS =
  "bfloat16 is for GPUs and other runtimes: ONNX Runtime up to 1.30 does not run it on CPUs or the web";

/** What half precision does not hold of the weights, once all jobs are done. */
export function remarksOnLosses(jobs: readonly Job[], losses: ReadonlyMap<Job, Loss>): Remark[] {
  const narrowed = jobs.filter((job) => job instanceof HalfJob);
  if (narrowed.length === 0) return [];
  const tensors = narrowed.map((job) => {
    const { name, tensor } = job.constant;
    return { name, elements: elementsOf(tensor.shape), halves: (losses.get(job) as HalfLoss).halves };
  });
  return remarksOnHalves(narrowed[0]!.dtype, tensors);
}
