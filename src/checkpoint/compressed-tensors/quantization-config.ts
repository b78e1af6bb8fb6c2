import { FormatError } from "../../errors.ts";
import type { Compression } from "./compressed-layout.ts";
import { isLinear, moduleOf } from "./module-names.ts";

/** How weights or activations are quantized: the keys that every version of compressed-tensors knows, which takes no others. */
export interface QuantizationArguments {
  readonly num_bits: number;
  readonly type: "int";
  readonly symmetric: boolean;
  readonly strategy: "channel" | "group" | "token";
  readonly group_size: number | null;
  readonly dynamic: boolean;
}

/** `quantization_config` of config.json. */
export interface QuantizationConfig {
  readonly quant_method: "compressed-tensors";
  readonly format: "pack-quantized" | "int-quantized";
  readonly quantization_status: "compressed";
  readonly config_groups: {
    readonly group_0: {
      readonly targets: readonly string[];
      readonly weights: QuantizationArguments;
      readonly input_activations: QuantizationArguments | null;
      readonly output_activations: null;
    };
  };
  readonly ignore: readonly string[];
  readonly kv_cache_scheme: null;
  readonly global_compression_ratio: null;
}

/**
 * What vLLM and transformers are told: every linear layer is quantized alike but for those ignored, which are the modules
 * of all tensors left as they are (harmless where such a module is no linear layer), and `lm_head`, which a model has even
 * where its weights are those of the embedding and the file holds none. What was quantized without being a linear layer
 * goes by its name.
 *
 * @param quantized names of the weights that are quantized
 * @param left names of the other tensors with two dimensions or more
 */
export function quantizationConfig(
  { bits, symmetric, groupSize, activations }: Compression,
  quantized: readonly string[],
  left: readonly string[],
): QuantizationConfig {
  const modules = new Set(quantized.map(moduleOf));
  const others = [...left.map(moduleOf), "lm_head"].filter((module) => module !== "" && !modules.has(module));
  return {
    quant_method: "compressed-tensors",
    format: activations ? "int-quantized" : "pack-quantized",
    quantization_status: "compressed",
    config_groups: {
      group_0: {
        targets: ["Linear", ...[...modules].filter((module) => !isLinear(module))],
        weights: {
          num_bits: bits,
          type: "int",
          symmetric,
          strategy: groupSize === undefined ? "channel" : "group",
          group_size: groupSize ?? null,
          dynamic: false,
        },
        input_activations: activations
          ? { num_bits: 8, type: "int", symmetric: true, strategy: "token", group_size: null, dynamic: true }
          : null,
        output_activations: null,
      },
    },
    ignore: [...new Set(others)],
    kv_cache_scheme: null,
    global_compression_ratio: null,
  };
}

/**
 * config.json with the quantization's part in it. The text is added to rather than written anew: it may hold Infinity, and
 * 1.0 would become 1, which transformers refuses where it wants a float. Lines are indented as they are there.
 *
 * @throws FormatError where the text is not of an object, or of a model that is quantized already.
 */
export function addToConfig(file: string, text: string, config: QuantizationConfig): string {
  const [, body] = /^\s*\{([\s\S]*)\}\s*$/.exec(text) ?? [];
  if (body === undefined) throw new FormatError(file, "is not a JSON object");
  const [, indent = /\n/.test(body) || body.trim() === "" ? "  " : ""] = /\n([ \t]+)"/.exec(body) ?? [];
  const value = JSON.stringify(config, null, indent).replaceAll("\n", `\n${indent}`);
  const unset = /("quantization_config"\s*:\s*)null\b/;
  if (unset.test(text)) return text.replace(unset, (_, key: string) => key + value);
  if (/"quantization_config"\s*:/.test(text)) {
    throw new FormatError(file, "has a quantization_config already; quantize the float model it was made from");
  }
  const rest = body.trimEnd();
  const [newline, colon] = indent === "" ? ["", ":"] : ["\n", ": "];
  const comma = rest.trim() === "" ? "" : ",";
  return `{${rest}${comma}${newline}${indent}"quantization_config"${colon}${value}${newline}}\n`;
}
