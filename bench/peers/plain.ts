import type { Given, Peer, Prepared } from "./peer.ts";

/** The loops people write, which divide in float64 and round halves up: a code may be one off. */
export const plain: Peer = {
  name: "plain JavaScript",
  tolerance: 1,
  async prepare({ x, scale }: Given): Promise<Prepared> {
    // A copy of its own for each type of array: loops are fastest while they know one.
    const [signed, unsigned, scan] = await Promise.all(["signed", "unsigned", "scan"].map(loopsFor));
    const [codes, dynamic] = [new Int8Array(x.length), new Uint8Array(x.length)];
    const jobs = {
      QuantizeLinear: {
        run: () => {
          signed!.quantize(x, codes, scale, 0, -128, 127);
          return codes[0]!;
        },
        result: () => codes,
      },
      DynamicQuantizeLinear: {
        run: () => {
          unsigned!.dynamicQuantize(x, dynamic);
          return dynamic[0]!;
        },
        result: () => dynamic,
      },
      range: { run: () => scan!.range(x), result: () => [scan!.range(x)] },
    };
    return { jobs, free: () => {} };
  },
};

function loopsFor(use: string): Promise<typeof import("../plain-loops.ts")> {
  return import(`../plain-loops.ts?for=${use}`);
}
