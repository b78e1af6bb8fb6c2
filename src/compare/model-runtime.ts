/** What runs a model, as far as comparing two of them needs to know. `wasm-quant/node` has one. */
import type { ByteSource } from "../formats/byte-source.ts";
import type { Feeds, ValueDType } from "./tensor-values.ts";

/** An input or output as the model declares it. */
export interface ModelValueInfo {
  readonly name: string;
  /** `"other"` stands for what is not a tensor. Only a `ValueDType` can be fed and compared. */
  readonly dtype: ValueDType | "int4" | "uint4" | "string" | "other";
  /**
   * A string is a dimension that may have any size, `""` one without a name. `[]` is a scalar, or a tensor of which the
   * model says no more.
   */
  readonly shape: readonly (number | string)[];
}

export interface ModelSession {
  /** Those that have to be given. */
  readonly inputs: readonly ModelValueInfo[];
  readonly outputs: readonly ModelValueInfo[];
  /**
   * The outputs by name. Those that are not of a `ValueDType` are left out: they are not comparable.
   *
   * @throws FormatError naming the model, when it does not run on these inputs.
   */
  run(feeds: Feeds): Promise<Feeds>;
  close(): Promise<void>;
}

export interface ModelRuntime {
  /** @throws FormatError naming the model, when the runtime refuses it. */
  open(source: ByteSource): Promise<ModelSession>;
}
