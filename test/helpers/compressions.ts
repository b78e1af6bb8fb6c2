import type { Compression } from "../../src/checkpoint/compressed-tensors/compressed-layout.ts";

export const int4: Compression = { bits: 4, symmetric: true, activations: false };

export const int8: Compression = { bits: 8, symmetric: true, activations: false };
