import { describe } from "vitest";
import { common, type Fixtures, fed4, itGivesTheSame, x4, y } from "../../../helpers/opset-fixtures.ts";
import { feed, node, tensor } from "../../../helpers/opset-models.ts";
import { normals, randomOf } from "../../../helpers/random.ts";

const fixtures: Fixtures = {
  ...Object.fromEntries(
    ["nearest", "linear"].flatMap((mode) => [
      [
        `Upsample 7, ${mode}`,
        {
          opset: 7,
          nodes: [node("Upsample", "x", "y", { mode, scales: { floats: [1, 1, 2, 3] } })],
          ...common,
        },
      ],
      [
        `Upsample 9 by a broken scale, ${mode}`,
        {
          opset: 9,
          nodes: [node("Upsample", "x s", "y", { mode })],
          initializers: { s: tensor("float32", [4], [1, 1, 1.5, 1.7]) },
          ...common,
        },
      ],
      [
        `Upsample 9 by an input, ${mode}`,
        {
          opset: 9,
          nodes: [node("Upsample", "x s", "y", { mode })],
          inputs: { ...x4, s: "float32[4]" },
          outputs: y,
          feeds: { ...fed4, s: feed("float32", [4], [1, 1, 2.5, 1.2]) },
        },
      ],
      ...[
        [1, 1, 2, 1.6],
        [1, 1, 0.6, 0.5],
        [1, 1, 0.6, 1.7],
        [1, 1, 3, 0.35],
      ].flatMap((scales) => [
        [
          `Resize 10 by ${scales}, ${mode}`,
          {
            opset: 10,
            nodes: [node("Resize", "x s", "y", { mode })],
            initializers: { s: tensor("float32", [4], scales) },
            ...common,
          },
        ],
        [
          `Resize 10 by ${scales} as an input, ${mode}`,
          {
            opset: 10,
            nodes: [node("Resize", "x s", "y", { mode })],
            inputs: { ...x4, s: "float32[4]" },
            outputs: y,
            feeds: { ...fed4, s: feed("float32", [4], scales) },
          },
        ],
      ]),
    ]),
  ),
  "Resize 11 by sizes": {
    opset: 11,
    nodes: [
      node("Resize", "x roi none sizes", "y", { mode: "linear", coordinate_transformation_mode: "align_corners" }),
    ],
    initializers: {
      roi: tensor("float32", [0], []),
      none: tensor("float32", [0], []),
      sizes: tensor("int64", [4], [1, 2, 7, 3]),
    },
    ...common,
  },
  "Resize 11 by scales, cubic": {
    opset: 11,
    nodes: [node("Resize", "x roi s", "y", { mode: "cubic", coordinate_transformation_mode: "pytorch_half_pixel" })],
    initializers: { roi: tensor("float32", [0], []), s: tensor("float32", [4], [1, 1, 2, 2]) },
    ...common,
  },
  "Resize 11 as TensorFlow does": {
    opset: 11,
    nodes: [
      node("Resize", "x roi s", "y", {
        mode: "nearest",
        nearest_mode: "floor",
        coordinate_transformation_mode: "tf_half_pixel_for_nn",
      }),
    ],
    initializers: { roi: tensor("float32", [0], []), s: tensor("float32", [4], [1, 1, 2.5, 0.6]) },
    ...common,
  },
  "Resize 11 of a crop": {
    opset: 11,
    nodes: [
      node("Resize", "x roi none sizes", "y", {
        mode: "linear",
        coordinate_transformation_mode: "tf_crop_and_resize",
        extrapolation_value: { float: 9 },
      }),
    ],
    initializers: {
      roi: tensor("float32", [8], [0, 0, 0.2, 0.1, 1, 1, 0.8, 1.1]),
      none: tensor("float32", [0], []),
      sizes: tensor("int64", [4], [1, 2, 3, 3]),
    },
    ...common,
  },
  ...Object.fromEntries(
    ["AveragePool", "MaxPool"].flatMap((op) =>
      [
        [`${op}, padded`, 7, { kernel_shape: [3, 3], pads: [1, 1, 1, 1], strides: [2, 2] }],
        [`${op}, same`, 7, { kernel_shape: [2, 3], auto_pad: "SAME_UPPER", strides: [2, 2] }],
        [`${op}, rounded up`, 10, { kernel_shape: [3, 2], strides: [2, 2], ceil_mode: 1 }],
        [
          `${op}, rounded up with pads`,
          10,
          { kernel_shape: [2, 2], strides: [3, 3], pads: [0, 0, 1, 1], ceil_mode: 1 },
        ],
      ].map(([name, opset, attributes]) => [
        name,
        {
          opset,
          nodes: [node(op, "x", "y", attributes as never)],
          ...common,
          ...(op === "AveragePool" && { inexactFrom: 19 }),
        },
      ]),
    ),
  ),
  "AveragePool, pads counted": {
    opset: 7,
    nodes: [node("AveragePool", "x", "y", { kernel_shape: [3, 3], pads: [1, 1, 1, 1], count_include_pad: 1 })],
    ...common,
    inexactFrom: 19,
  },
  LpPool: {
    opset: 7,
    nodes: [node("LpPool", "x", "y", { kernel_shape: [2, 2], p: 3 })],
    ...common,
  },
  RoiAlign: {
    opset: 10,
    nodes: [node("RoiAlign", "x r b", "y", { output_height: 2, output_width: 2, sampling_ratio: 2 })],
    initializers: { r: tensor("float32", [1, 4], [0.3, 0.2, 3.4, 3.1]), b: tensor("int64", [1], [0]) },
    ...common,
    upTo: 21,
  },
  ...Object.fromEntries(
    ["bilinear", "bicubic", "nearest", undefined].map((mode) => [
      `GridSample, ${mode}`,
      {
        opset: 16,
        nodes: [node("GridSample", "x g", "y", mode ? { mode } : {})],
        inputs: { ...x4, g: "float32[1,3,3,2]" },
        outputs: y,
        feeds: { ...fed4, g: feed("float32", [1, 3, 3, 2], [...normals(randomOf(9), 18, 0.4)]) },
      },
    ]),
  ),
};

describe("raised models give what they gave: pooling and sampling", () => itGivesTheSame(fixtures));
