import type { Row } from "./rows.ts";
import type { Runtime } from "./versions.ts";

/**
 * Outputs that a runtime does not run and that no rule of src/onnx/targets tells of. Each is a defect of the quantizer, which
 * makes these models although others of the same use would run: an entry goes when it is mended.
 */
export interface KnownFailure {
  readonly rows: RegExp;
  /** Whether it is about a way to make the output. */
  readonly ways?: (way: Row["ways"][number]) => boolean;
  /** The first version of ONNX Runtime that does not run it, and the last. */
  readonly since?: string;
  readonly upTo: string;
  readonly reason: string;
}

const NORM = "to be mended: a written-out norm: SimplifiedLayerNormFusion fails on the Cast of its exponent";
const norm = { since: "1.23.0", upTo: "1.27.0", reason: NORM } as const;

const knownFailures: readonly KnownFailure[] = [
  {
    rows: /^`qdq` int\d+, weights behind a Transpose$/,
    ways: (way) => "scheme" in way && way.scheme === "symmetric",
    upTo: "1.27.0",
    reason: "to be mended: codes without zero points: ONNX Runtime adds a QuantizeLinear, which takes them for uint8",
  },
  { ...norm, rows: /^float16 of a written-out RMS norm$/ },
  { ...norm, rows: /^float16 of a layer of BERT/ },
  { ...norm, rows: /^(fp16|q4f16) of a (written-out RMS norm|layer of BERT)/ },
];

/** Why an output is known not to run. */
export function knownFailure(row: Row, way: Row["ways"][number], { version }: Runtime): KnownFailure | undefined {
  const compared = (other: string) => version.localeCompare(other, "en", { numeric: true });
  return knownFailures.find(
    ({ rows, ways, since = "0", upTo }) =>
      rows.test(row.name) && (ways?.(way) ?? true) && compared(since) >= 0 && compared(upTo) <= 0,
  );
}
