import type { ModelValueInfo } from "../../src/compare/model-runtime.ts";

export const spec = (name: string, dtype: ModelValueInfo["dtype"], shape: ModelValueInfo["shape"]): ModelValueInfo => ({
  name,
  dtype,
  shape,
});
