import { intAttribute, makeNode } from "../../ir/graph.ts";
import { MICROSOFT } from "../../ir/operators.ts";
import { gatherAxisOf } from "../../weights/find-weights.ts";
import type { NbitsOptions } from "./nbits-options.ts";
import { type StorageOptions, tableStorageOf } from "./nbits-tensors.ts";
import type { Propose } from "./plan-blockwise.ts";

type GatherOptions = StorageOptions & Pick<NbitsOptions, "gatherBits">;

/**
 * Gather of a table's rows as GatherBlockQuantized, the rows cut into blocks. Its codes are bytes, which every opset has:
 * those of type int4 would ask for opset 21.
 */
export const proposeGather: Propose<GatherOptions> = (node, weight, options) => {
  const { shape } = weight.constant.tensor;
  const [n = 0, k = 0] = shape;
  if (weight.isSwapped || shape.length !== 2 || gatherAxisOf(node, 2) !== 0) {
    return "Gather of other things than a table's rows";
  }
  const { bits, blockSize, gatherBits } = options;
  if (gatherBits && !gatherBits.includes(bits)) {
    return `Gather in ${bits} bits, which not all versions of the target run; ${gatherBits.join(" and ")} they do`;
  }
  if ((k * bits) % 8 !== 0) return `Gather of rows of ${k} values, whose codes of ${bits} bits fill no whole bytes`;
  return {
    ...tableStorageOf(weight, options, { k, n }),
    nodes([codes = "", scales = "", ...zeroPoints], names) {
      const [, indices = ""] = node.inputs;
      const attributes = [
        intAttribute("gather_axis", 0),
        intAttribute("quantize_axis", 1),
        intAttribute("block_size", blockSize),
        intAttribute("bits", bits),
      ];
      const name = node.name === "" ? "" : names.fresh(`${node.name}_Q${bits}`);
      const how = { name, domain: MICROSOFT, attributes };
      return [makeNode("GatherBlockQuantized", [codes, indices, scales, ...zeroPoints], node.outputs, how)];
    },
  };
};

/** Of a table that products have in few bits: in 8 where it cannot be in as many. */
export const proposeTiedGather: Propose<GatherOptions> = (node, weight, options) => {
  const proposal = proposeGather(node, weight, options);
  return typeof proposal === "string" ? proposeGather(node, weight, { ...options, bits: 8 }) : proposal;
};
