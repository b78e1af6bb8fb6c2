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

const knownFailures: readonly KnownFailure[] = [];

/** Why an output is known not to run. */
export function knownFailure(row: Row, way: Row["ways"][number], { version }: Runtime): KnownFailure | undefined {
  const compared = (other: string) => version.localeCompare(other, "en", { numeric: true });
  return knownFailures.find(
    ({ rows, ways, since = "0", upTo }) =>
      rows.test(row.name) && (ways?.(way) ?? true) && compared(since) >= 0 && compared(upTo) <= 0,
  );
}
