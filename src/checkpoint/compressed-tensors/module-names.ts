/** Whether there are weights in this layout, or in one like it. */
export function holdsPacked(tensors: readonly { readonly name: string }[]): boolean {
  return tensors.some(({ name }) => name.endsWith(".weight_packed"));
}

/** The module a tensor belongs to: its name without the last part. */
export function moduleOf(name: string): string {
  return name.slice(0, Math.max(name.lastIndexOf("."), 0));
}

const embedding = /(^|_)emb|embed|^w[tp]e$|^shared$|^relative_attention_bias$/i;
const head = /^(lm_head|embed_out|output_layer|score|classifier)$/;
/** Of mixtures of experts: vLLM keeps them in floating point, whatever config.json says. */
const router = /^(gate|router|shared_expert_gate)$/;

/**
 * Whether a module with a matrix for its weight is a linear layer that vLLM and transformers quantize as such. Told by its
 * name: embeddings, output heads and routers are not.
 */
export function isLinear(module: string): boolean {
  const parts = module.split(".");
  const last = parts.at(-1)!;
  const isHead = head.test(last) || /^(model\.)?output$/.test(module); // "attention.output" is a linear layer
  return module !== "" && !isHead && !embedding.test(last) && !router.test(last) && !parts.includes("router");
}

/** Layers that vLLM makes one of (`packed_modules_mapping` of its models); it refuses to load one that is half quantized. */
const fusions = [
  ["q_proj", "k_proj", "v_proj"],
  ["gate_proj", "up_proj"],
  ["query", "key", "value"],
  ["w1", "w3"],
];

/** The first two modules that vLLM would make one of, though only one is quantized; undefined where there are none. */
export function brokenFusion(
  quantized: Iterable<string>,
  left: Iterable<string>,
): { readonly quantized: string; readonly left: string } | undefined {
  const kept = new Set(left);
  for (const module of quantized) {
    const parent = module.slice(0, module.lastIndexOf(".") + 1);
    const fused = fusions.find((names) => names.includes(module.slice(parent.length)));
    const other = fused?.map((name) => parent + name).find((sibling) => kept.has(sibling));
    if (other !== undefined) return { quantized: module, left: other };
  }
  return undefined;
}
