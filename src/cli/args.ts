import { Command, InvalidArgumentError, Option } from "commander";
import { schemeNames } from "../core/schemes.ts";
import { type CodeDType, codeTypes } from "../dtypes.ts";
import { type WeightForm, weightForms } from "../onnx/recipe.ts";

/** Options of every subcommand. */
export interface CommonOptions {
  readonly json?: true;
  readonly quiet?: true;
  readonly debug?: true;
}

export interface WriteOptions extends CommonOptions {
  readonly output?: string;
  readonly force?: true;
}

export interface QuantizeArguments extends WriteOptions {
  readonly dtype: CodeDType;
  readonly scheme?: "affine" | "symmetric" | "minmax";
  readonly symmetric?: true;
  readonly asymmetric?: true;
  readonly perChannel?: true;
  readonly perTensor?: true;
  readonly axis?: number;
  readonly blockSize?: number;
  readonly reduceRange?: true;
  readonly include?: string[];
  readonly exclude?: string[];
  readonly format?: WeightForm;
  readonly opset?: number;
  readonly opTypes?: string[];
}

export interface CompareArguments extends CommonOptions {
  readonly inputs?: string;
  readonly seed?: number;
  readonly sets?: number;
}

export interface Actions {
  quantize(input: string, options: QuantizeArguments): Promise<void>;
  dequantize(input: string, options: WriteOptions): Promise<void>;
  inspect(input: string, options: CommonOptions): Promise<void>;
  compare(a: string, b: string, options: CompareArguments): Promise<void>;
}

/** The command line: what may be typed, and what is done then. */
export function createProgram(version: string, actions: Actions): Command {
  const program = new Command("wasm-quant")
    .usage("[command] [options] <input>")
    .description("Makes ONNX models and files of tensors small: float weights to 8-, 16- or 4-bit integers")
    .version(version)
    .configureOutput({ outputError: (text, write) => write(`wasm-quant: ${text.replace(/^error: /, "")}`) })
    .exitOverride();

  const quantize = quantizeCommand(program);
  withCommon(withOutput(quantize, "<input>.<dtype>.onnx or .safetensors", [".onnx", ".safetensors"])).action(
    actions.quantize,
  );
  program.addHelpText("after", () => `\n${quantize.helpInformation()}`);

  const dequantize = program
    .command("dequantize <input>")
    .description("restore a float file from a quantized one")
    .summary("restore a float file");
  withCommon(withOutput(dequantize, "<input>.float.safetensors", [".safetensors", ".npy"])).action(actions.dequantize);

  const inspect = program
    .command("inspect <input>")
    .description("show what is in a model or a file of tensors, and what each weight would lose")
    .summary("what is in a file, and what each weight would lose");
  withCommon(inspect).action(actions.inspect);

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
  const dtypes = Object.keys(codeTypes);
  const schemes = schemeNames.filter((name) => name !== "dynamic");
  return program
    .command("quantize <input>", { isDefault: true })
    .description("quantize a model or a file of tensors (what is done when no command is named)")
    .summary("quantize a model or a file of tensors; the default")
    .addOption(new Option("--dtype <type>", "what to store").choices(dtypes).default("int8"))
    .addOption(new Option("--per-channel", "a scale for each slice along the axis (default)").conflicts("perTensor"))
    .option("--per-tensor", "one scale for each tensor")
    .addOption(
      new Option("--symmetric", "zero point in the middle (default for signed types)").conflicts([
        "asymmetric",
        "scheme",
      ]),
    )
    .addOption(new Option("--asymmetric", "zero point by the range (default for unsigned types)").conflicts("scheme"))
    .addOption(new Option("--scheme <name>", "the same by name; minmax keeps the offset in float").choices(schemes))
    .addOption(
      new Option("--block-size <n>", "a scale for each block of n values along the axis")
        .argParser(positive)
        .conflicts(["perChannel", "perTensor"]),
    )
    .addOption(
      new Option("--axis <n>", "tensors: channel axis (default: 0), or that of the blocks (default: 1)")
        .argParser(whole)
        .conflicts("perTensor"),
    )
    .option("--reduce-range", "leave half of the codes unused, for runtimes that saturate")
    .option("--include <glob>", "quantize these tensors only, or weights of these nodes (may be repeated)", collect)
    .option("--exclude <glob>", "leave these as they are (may be repeated)", collect)
    .addOption(
      new Option(
        "--format <name>",
        "models: restore weights by Cast and Mul (cast, the default) or DequantizeLinear",
      ).choices(weightForms),
    )
    .option("--opset <n>", "models: raise to this opset first", positive)
    .option("--op-types <list>", "models: only weights of nodes of these types, as Conv,MatMul", list);
}

function withOutput(command: Command, name: string, extensions: readonly string[]): Command {
  const endsRight = (path: string) => {
    if (extensions.some((extension) => path.toLowerCase().endsWith(extension))) return path;
    throw new InvalidArgumentError(`What is written is a ${extensions.join(" or ")} file.`);
  };
  return command
    .option("-o, --output <file>", `where to write (default: ${name} beside the input)`, endsRight)
    .option("--force", "replace an existing output");
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

function natural(text: string): number {
  const n = whole(text);
  if (n >= 0) return n;
  throw new InvalidArgumentError("It must be a whole number from 0 on.");
}

function whole(text: string): number {
  if (/^-?\d{1,9}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("It must be a whole number.");
}

function positive(text: string): number {
  const n = whole(text);
  if (n > 0) return n;
  throw new InvalidArgumentError("It must be a whole number above 0.");
}
