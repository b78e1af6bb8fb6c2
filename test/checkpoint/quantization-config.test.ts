import { describe, expect, it } from "vitest";
import { addToConfig, quantizationConfig } from "../../src/checkpoint/compressed-tensors/quantization-config.ts";
import { FormatError } from "../../src/index.ts";
import { int4, int8 } from "../helpers/compressions.ts";

describe("config.json", () => {
  const quantized = ["model.layers.0.mlp.up_proj.weight", "model.layers.0.mlp.gate_proj.weight"];
  const left = ["model.embed_tokens.weight", "model.layers.0.self_attn.q_proj.weight", "loose"];
  const config = quantizationConfig({ ...int4, groupSize: 128 }, quantized, left);

  it("says how to read the weights", () => {
    expect(config).toMatchInlineSnapshot(`
      {
        "config_groups": {
          "group_0": {
            "input_activations": null,
            "output_activations": null,
            "targets": [
              "Linear",
            ],
            "weights": {
              "dynamic": false,
              "group_size": 128,
              "num_bits": 4,
              "strategy": "group",
              "symmetric": true,
              "type": "int",
            },
          },
        },
        "format": "pack-quantized",
        "global_compression_ratio": null,
        "ignore": [
          "model.embed_tokens",
          "model.layers.0.self_attn.q_proj",
          "lm_head",
        ],
        "kv_cache_scheme": null,
        "quant_method": "compressed-tensors",
        "quantization_status": "compressed",
      }
    `);
  });

  it("says how activations are quantized where they are", () => {
    const { format, config_groups } = quantizationConfig({ ...int8, activations: true }, quantized, left);
    expect(format).toBe("int-quantized");
    expect(config_groups.group_0.weights).toMatchObject({ strategy: "channel", group_size: null });
    expect(config_groups.group_0.input_activations).toEqual({
      num_bits: 8,
      type: "int",
      symmetric: true,
      strategy: "token",
      group_size: null,
      dynamic: true,
    });
  });

  it("names what is quantized without being a linear layer, and ignores nothing that is quantized", () => {
    const asked = quantizationConfig(int8, [...quantized, "lm_head.weight"], ["lm_head.table", ...left, ...left]);
    expect(asked.config_groups.group_0.targets).toEqual(["Linear", "lm_head"]);
    expect(asked.ignore).toEqual(["model.embed_tokens", "model.layers.0.self_attn.q_proj"]);
  });

  it("is added to, not written anew", () => {
    const text = '{\n  "limit": Infinity,\n  "rope_theta": 10000.0\n}\n';
    const added = addToConfig("config.json", text, config);
    expect(
      added.startsWith('{\n  "limit": Infinity,\n  "rope_theta": 10000.0,\n  "quantization_config": {\n    "'),
    ).toBe(true);
    expect(JSON.parse(added.replace("Infinity", "1"))).toEqual({
      limit: 1,
      rope_theta: 10000,
      quantization_config: config,
    });
    for (const indent of ["", "\t", "    "]) {
      const lines = JSON.stringify({ a: [{ b: 1 }] }, null, indent);
      const whole = JSON.stringify({ a: [{ b: 1 }], quantization_config: config }, null, indent);
      expect(addToConfig("config.json", lines, config)).toBe(`${whole}\n`);
    }
    expect(JSON.parse(addToConfig("config.json", " { } ", config))).toEqual({ quantization_config: config });
    const unset = addToConfig("config.json", '{"quantization_config": null, "a": "$1"}', config);
    expect(JSON.parse(unset)).toEqual({ quantization_config: config, a: "$1" });
  });

  it("is refused where it is no object, or quantized already", () => {
    const quantizedAlready = addToConfig("config.json", "{}", config);
    expect(() => addToConfig("config.json", "[]", config)).toThrow(
      new FormatError("config.json", "is not a JSON object"),
    );
    expect(() => addToConfig("config.json", quantizedAlready, config)).toThrow("has a quantization_config already");
  });
});
