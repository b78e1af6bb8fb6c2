/**
 * The words of errors and remarks. Where they name an option they say which, as data, so that whoever shows them can name it
 * as its own users do: the library writes `opset: 13`, the command `--opset 13`.
 */
export interface OptionWord {
  /** By the library's name for it: `opTypes`. */
  readonly option: string;
  /** Where the text advises or quotes a value. */
  readonly value?: string | number | boolean | undefined;
  /** How the library's text words it. Default: the name, or `name: value`. */
  readonly text?: string | undefined;
}

/** Plain data, so that it can be sent to another thread. */
export type Words = readonly (string | OptionWord)[];

/** An option in a text. */
export function option(name: string, value?: OptionWord["value"], text?: string): OptionWord {
  return { option: name, ...(value !== undefined && { value }), ...(text !== undefined && { text }) };
}

/** The format of weights, in a text. */
export function formatWord(format: string): OptionWord {
  return option("format", format, `the format "${format}"`);
}

/** What to do about a tensor that cannot be taken. */
export const EXCLUDE_IT = option("exclude", undefined, "exclude it");

/** A tagged template for texts that name options. */
export function words(
  strings: TemplateStringsArray,
  ...values: readonly (string | number | OptionWord | Words | undefined)[]
): Words {
  return strings.flatMap((text, i): Words => {
    const value = values[i];
    const part =
      typeof value === "object" ? (Array.isArray(value) ? value : [value as OptionWord]) : [`${value ?? ""}`];
    return [text, ...part].filter((each) => each !== "");
  });
}

/** A text as one line; options as `wordOf` has them, by default as the library's users write them. */
export function textOf(text: string | Words, wordOf: (word: OptionWord) => string = libraryWord): string {
  if (typeof text === "string") return text;
  return text.map((part) => (typeof part === "string" ? part : wordOf(part))).join("");
}

function libraryWord({ option, value, text }: OptionWord): string {
  return text ?? (value === undefined ? option : `${option}: ${value}`);
}

/** A text in parts, to build another of. */
export function wordsOf(text: string | Words): Words {
  return typeof text === "string" ? [text] : text;
}
