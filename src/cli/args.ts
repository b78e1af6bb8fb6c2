import { Command, InvalidArgumentError, Option } from "commander";
import { schemeNames } from "../core/schemes.ts";
import { type CodeDType, codeTypes } from "../dtypes.ts";

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
}

export interface Actions {
  quantize(input: string, options: QuantizeArguments): Promise<void>;
  dequantize(input: string, options: WriteOptions): Promise<void>;
  inspect(input: string, options: CommonOptions): Promise<void>;
}

/** The command line: what may be typed, and what is done then. */
export function createProgram(version: string, actions: Actions): Command {
  const program = new Command("wasm-quant")
    .usage("[command] [options] <input>")
    .description("Makes the tensors of a safetensors or .npy file small: floats to 8-, 16- or 4-bit integers")
    .version(version)
    .configureOutput({ outputError: (text, write) => write(`wasm-quant: ${text.replace(/^error: /, "")}`) })
    .exitOverride();

  const quantize = quantizeCommand(program);
  withCommon(withOutput(quantize, "<input>.<dtype>.safetensors", [".safetensors"])).action(actions.quantize);
  program.addHelpText("after", () => `\n${quantize.helpInformation()}`);

  const dequantize = program
    .command("dequantize <input>")
    .description("restore a float file from a quantized one")
    .summary("restore a float file");
  withCommon(withOutput(dequantize, "<input>.float.safetensors", [".safetensors", ".npy"])).action(actions.dequantize);

  const inspect = program
    .command("inspect <input>")
    .description("show what is in a file, and what each tensor would lose")
    .summary("what is in a file, and what each tensor would lose");
  withCommon(inspect).action(actions.inspect);
  return program;
}

function quantizeCommand(program: Command): Command {
  const dtypes = Object.keys(codeTypes);
  const schemes = schemeNames.filter((name) => name !== "dynamic");
  return program
    .command("quantize <input>", { isDefault: true })
    .description("quantize the tensors of a file (what is done when no command is named)")
    .summary("quantize the tensors of a file; the default")
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
      new Option("--axis <n>", "channel axis (default: 0), or that of the blocks (default: 1)")
        .argParser(whole)
        .conflicts("perTensor"),
    )
    .option("--reduce-range", "leave half of the codes unused, for runtimes that saturate")
    .option("--include <glob>", "quantize these tensors only (may be repeated)", collect)
    .option("--exclude <glob>", "leave these tensors as they are (may be repeated)", collect);
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

function whole(text: string): number {
  if (/^-?\d{1,9}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("It must be a whole number.");
}

function positive(text: string): number {
  const n = whole(text);
  if (n > 0) return n;
  throw new InvalidArgumentError("It must be a whole number above 0.");
}
