import type { Kernels } from "../abi.ts";
import type { ViewOf } from "./groups.ts";

/** Reference for assembly/nibbles.ts. */
export function nibbleReference(viewOf: ViewOf): Pick<Kernels, "packNibbles" | "unpackI4" | "unpackU4"> {
  const unpack = (extend: (nibble: number) => number) => (src: number, dst: number, n: number, odd: number) => {
    const view = viewOf();
    for (let i = 0; i < n; i++) {
      const byte = view.getUint8(src + ((i + odd) >> 1));
      view.setInt8(dst + i, extend((i + odd) % 2 ? byte >> 4 : byte & 15));
    }
  };
  return {
    packNibbles(src, dst, n, odd) {
      const view = viewOf();
      for (let i = 0; i < n; i++) {
        const at = dst + ((i + odd) >> 1);
        const nibble = view.getUint8(src + i) & 15;
        view.setUint8(at, (i + odd) % 2 ? (view.getUint8(at) & 15) | (nibble << 4) : nibble);
      }
    },
    unpackI4: unpack((nibble) => (nibble ^ 8) - 8),
    unpackU4: unpack((nibble) => nibble),
  };
}
