import { Command, InvalidArgumentError, Option } from "commander";
import { layouts } from "../checkpoint/quantize-checkpoint.ts";
import { codeTypes } from "../dtypes.ts";
import { rangeRuleOf } from "../engine/tensors/range-method.ts";
import { schemeNames } from "../engine/tensors/schemes.ts";
import type { ArgumentError } from "../errors.ts";
import { isShardIndex } from "../formats/detect-file-type.ts";
import { accuracyLevels, algorithms, bitWidths, formats, halfTypes, modes, tools } from "../onnx/onnx-options.ts";
import { targetNames } from "../onnx/targets/target.ts";
import { transformersJsVariants } from "../onnx/transformers-js.ts";
import type { Actions } from "./command-options.ts";
import { endsAsFolder } from "./paths.ts";

/** The command line: what may be typed, and what is done then. */
export function createProgram(version: string, actions: Actions): Command {
  const program = new Command("wasm-quant")
    .usage("[command] [options] <input>")
    .description("Makes ONNX models and files of tensors small: float weights to 8-, 16- or 4-bit integers")
    .version(version)
    .configureOutput({ outputError: (text, write) => write(`wasm-quant: ${text.replace(/^error: /, "")}`) })
    .exitOverride();

  const quantize = quantizeCommand(program);
  withCommon(withWork(withOutput(quantize, "<input>.<dtype>.onnx or .safetensors"))).action(
    (input, options, command) => {
      // Of a set the folder is named.
      if (options.recipe) return actions.quantize(input, options);
      if (options.only) command.error("error: option '--only <list>' is for --recipe");
      if (options.output !== undefined) checkOutput(command, options.output, [".onnx", ".safetensors"]);
      return actions.quantize(input, options);
    },
  );
  program.addHelpText("after", () => `\n${quantize.helpInformation()}`);

  const dequantize = program
    .command("dequantize <input>")
    .description("restore a float file from a quantized one")
    .summary("restore a float file");
  withCommon(withWork(withOutput(dequantize, "<input>.float.safetensors"))).action((input, options, command) => {
    if (options.output !== undefined) checkOutput(command, options.output, [".safetensors", ".npy"]);
    return actions.dequantize(input, options);
  });

  const inspect = program
    .command("inspect <input>")
    .description("show what is in a model or a file of tensors, and what each weight would lose")
    .summary("what is in a file, and what each weight would lose")
    .addOption(
      choice("--target <name>", "models: list the nodes that fail, fall back, are inexact or slow there", targetNames),
    );
  for (const option of [...globOptions(), opTypesOption()]) inspect.addOption(option);
  withCommon(withWork(inspect)).action(actions.inspect);

  const compare = program
    .command("compare <a> <b>")
    .description("compare an ONNX model with its quantized version: weights, and with onnxruntime-node what both give")
    .summary("compare two models: weights and what they give")
    .option("--inputs <file>", "a .npz file of inputs to run on, or a folder of them (default: random ones)")
    .addOption(new Option("--sets <n>", "sets of random inputs (default: 4)").argParser(positive).conflicts("inputs"))
    .addOption(new Option("--seed <n>", "of random inputs (default: 0)").argParser(natural).conflicts("inputs"));
  withCommon(compare).action(actions.compare);
  return program;
}

function quantizeCommand(program: Command): Command {
  const command = program
    .command("quantize <input>", { isDefault: true })
    .description("quantize a model or a file of tensors (what is done when no command is named)")
    .summary("quantize a model or a file of tensors; the default");
  for (const option of [...numberOptions(), ...fileOptions(), ...modelOptions()]) command.addOption(option);
  return command;
}

/** What values become. */
function numberOptions(): Option[] {
  const dtypes = [...Object.keys(codeTypes), ...halfTypes];
  const schemes = schemeNames.filter((name) => name !== "dynamic");
  return [
    choice("--mode <name>", "models: store weights in few bits (weight-only, the default), or integer layers", modes),
    choice("--dtype <type>", "what to store (default: int8); float16 and bfloat16 convert models as a whole", dtypes),
    new Option("--per-channel", "a scale for each slice along the axis (default)").conflicts("perTensor"),
    new Option("--per-tensor", "one scale for each tensor"),
    new Option("--symmetric", "zero point in the middle (default for signed types)").conflicts([
      "asymmetric",
      "scheme",
    ]),
    new Option("--asymmetric", "zero point by the range (default for unsigned types)").conflicts("scheme"),
    choice("--scheme <name>", "the same by name; float-offset keeps the offset in float", schemes),
    parsed("--block-size <n>", "a scale for each block of n values along the axis", positive).conflicts([
      "perChannel",
      "perTensor",
    ]),
    parsed("--axis <n>", "tensors: channel axis (default: 0), or that of the blocks (default: 1)", whole).conflicts(
      "perTensor",
    ),
  ];
}

/** What is written, and of which tensors. */
function fileOptions(): Option[] {
  const recipe = "models: the set of files that a library looks for; <input> may be a folder";
  const layout = "tensors: plain (default), or compressed-tensors, a model that vLLM and transformers load";
  const range =
    "how the range of weights is chosen: minmax (default), mse (least squared error), entropy, percentile=P (default: 99.99)";
  const only = `recipe: these of the set, as q8,q4 (${transformersJsVariants.join(", ")})`;
  return [
    choice("--recipe <name>", recipe, ["transformers.js"]).conflicts([
      ...["mode", "dtype", "format", "bits", "algorithm", "accuracyLevel", "io", "clamp", "blockSize", "axis"],
      ...["symmetric", "asymmetric", "scheme", "layout", "weightRange", "target", "opset", "opTypes", "like"],
    ]),
    choice("--layout <name>", layout, layouts),
    parsed("--only <list>", only, variantList),
    new Option("--reduce-range", "leave half of the codes unused, for runtimes that saturate"),
    parsed("--weight-range <method>", range, rangeMethod),
    ...globOptions(),
  ];
}

function globOptions(): Option[] {
  return [
    parsed("--include <glob>", "quantize these tensors only, or weights of these nodes (may be repeated)", collect),
    parsed("--exclude <glob>", "leave these as they are (may be repeated)", collect),
  ];
}

function opTypesOption(): Option {
  return parsed("--op-types <list>", "models: only weights of nodes of these types, as Conv,MatMul", list);
}

function modelOptions(): Option[] {
  const format =
    "models: restore weights by Cast and Mul (cast; default for 8 and 16 bit) or DequantizeLinear (qdq), or have MatMulNBits take them (nbits; default for 4 bit)";
  const algorithm = "nbits: how scales are found: rounding (rtn, the default), least squares, HQQ";
  const accuracy = "nbits: compute in float32 (1), float16 (2), bfloat16 (3), int8 (4)";
  const io = "half precision: type of inputs and outputs (default: float32)";
  const like = "models: the choices and bytes of ONNX Runtime's Python tool (dynamic, nbits)";
  return [
    choice("--format <name>", format, formats),
    parsed("--bits <n>", "nbits: 2, 4 or 8 (default: 4)", numberOf(bitWidths)),
    choice("--algorithm <name>", algorithm, algorithms),
    parsed("--accuracy-level <n>", accuracy, numberOf(accuracyLevels)),
    choice("--io <type>", io, ["float32", ...halfTypes]),
    new Option("--clamp", "half precision: values that are too large become the largest there is"),
    choice("--target <name>", "models: where it is to run; picks forms that do", targetNames),
    parsed("--opset <n>", "models: raise to this opset first", positive),
    opTypesOption(),
    choice("--like <tool>", like, tools),
    new Option("--again", "models: quantize the float weights of a model that is quantized already"),
    new Option("--allow-unchanged", "write a file in which nothing can be quantized as it is; an error otherwise"),
  ];
}

function parsed<T>(flags: string, description: string, parse: (text: string, before: T) => T): Option {
  return new Option(flags, description).argParser(parse);
}

function choice(flags: string, description: string, choices: readonly string[]): Option {
  return new Option(flags, description).choices(choices);
}

function withOutput(command: Command, name: string): Command {
  return command
    .option("-o, --output <file>", `where to write, a file or a folder/ (default: ${name} beside the input)`)
    .option("--force", "replace an existing output");
}

function withWork(command: Command): Command {
  return command
    .option("--threads <n>", "worker threads (default: as many as cores where files are large)", threads)
    .option(
      "--memory <size>",
      "what the process may take, as 512MB or 2GB (default: 256MB, or as many threads need)",
      bytes,
    );
}

function checkOutput(command: Command, path: string, extensions: readonly string[]): void {
  if (endsAsFolder(path) || isShardIndex(path)) return;
  if (extensions.some((extension) => path.toLowerCase().endsWith(extension))) return;
  const what = `What is written is a ${extensions.join(" or ")} file; a folder has a slash behind.`;
  command.error(`error: option '-o, --output <file>' argument '${path}' is invalid. ${what}`);
}

function withCommon(command: Command): Command {
  return command
    .option("--json", "print the result as JSON")
    .option("--quiet", "print nothing but errors")
    .option("--debug", "print a stack trace with an error");
}

function collect(glob: string, globs: readonly string[] = []): readonly string[] {
  if (glob === "") throw new InvalidArgumentError("It must not be empty.");
  return [...globs, glob];
}

function list(text: string): readonly string[] {
  const names = text.split(",").map((name) => name.trim());
  if (names.includes("")) throw new InvalidArgumentError("It must be names with commas between.");
  return names;
}

function numberOf(allowed: readonly number[]): (text: string) => number {
  return (text) => {
    const n = whole(text);
    if (allowed.includes(n)) return n;
    throw new InvalidArgumentError(`Allowed choices are ${allowed.join(", ")}.`);
  };
}

function rangeMethod(text: string): string {
  try {
    rangeRuleOf("", text);
    return text;
  } catch (error) {
    const { detail } = error as ArgumentError;
    throw new InvalidArgumentError(`${detail.slice(0, 1).toUpperCase()}${detail.slice(1)}.`);
  }
}

function variantList(text: string): readonly string[] {
  const names = list(text);
  const strange = names.find((name) => !transformersJsVariants.some((variant) => variant === name));
  if (strange === undefined) return names;
  throw new InvalidArgumentError(`There is no ${strange}; allowed are ${transformersJsVariants.join(", ")}.`);
}

const units = { MB: 1e6, GB: 1e9, MiB: 2 ** 20, GiB: 2 ** 30 } as const;

function bytes(text: string): number {
  const [, digits, unit] = /^(\d{1,9}(?:\.\d{1,3})?) ?(MB|GB|MiB|GiB)$/i.exec(text) ?? [];
  const name = Object.keys(units).find((each) => each.toLowerCase() === unit?.toLowerCase()) as keyof typeof units;
  const size = Math.floor(Number(digits) * units[name]);
  if (size > 0) return size;
  throw new InvalidArgumentError("It must be a size such as 256MB or 2GB.");
}

/** More than any shape, seed or count is. */
const MOST = 999_999_999;

/** More than there are cores for. */
const MOST_THREADS = 256;

const natural = wholeFrom(0);
const positive = wholeFrom(1);
const whole = wholeFrom(-MOST);
const threads = wholeFrom(1, MOST_THREADS);

function wholeFrom(least: number, most = MOST): (text: string) => number {
  return (text) => {
    const n = /^-?\d+$/.test(text) ? Number(text) : Number.NaN;
    if (n >= least && n <= most) return n;
    throw new InvalidArgumentError(`It must be a whole number from ${least} to ${most}.`);
  };
}
