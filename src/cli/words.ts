import type { OptionWord, Words } from "../messages.ts";
import { textOf } from "../messages.ts";
import type { Remark } from "../pipeline/model-report.ts";

/** An option as it is typed, with its value where one is given. */
export function typedOption(name: string, value?: unknown): string {
  if (name === "perChannel" && value !== undefined) return value ? "--per-channel" : "--per-tensor";
  const flag = `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
  if (value === undefined || value === true) return flag;
  return `${flag} ${Array.isArray(value) ? value.join(",") : value}`;
}

/** Options of the library as they are typed, those to leave out last. */
export function typedOptions(options: Readonly<Record<string, unknown>>): string {
  const names = Object.keys(options);
  const given = names.flatMap((name) => (options[name] === undefined ? [] : typedOption(name, options[name])));
  const without = names.filter((name) => options[name] === undefined).map((name) => typedOption(name));
  return [...given, ...(without.length > 0 ? [`without ${without.join(", ")}`] : [])].join(" ");
}

/** What stands for a value where a text advises an option without one. */
const placeholders: Readonly<Record<string, string>> = { include: "GLOB", exclude: "GLOB" };

/** A text with its options as they are typed; `flagOf` gives that of one without a value, undefined where there is none. */
export function typedText(
  text: Words,
  flagOf: (name: string) => string | undefined = (name) => typedOption(name),
): string {
  return textOf(text, ({ option, value, text }: OptionWord) => {
    if (value !== undefined) return typedOption(option, value);
    if (text !== undefined) return `${text} (${typedOption(option, placeholders[option])})`;
    return flagOf(option) ?? option;
  });
}

/** The line on a remark. */
export function lineOf({ words }: Remark): string {
  return typedText(words);
}
