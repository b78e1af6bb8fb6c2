import picomatch from "picomatch";
import { ArgumentError } from "../errors.ts";
import { listNames } from "./phrases.ts";

/** Which things are meant, by name. A glob that matches nothing is an error. */
export interface NameGlobs {
  /** `*` matches across dots and slashes. Default: all. */
  readonly include?: readonly string[] | undefined;
  /** Default: none. */
  readonly exclude?: readonly string[] | undefined;
}

/** Whether something of that name is meant. */
export type Matcher = (name: string) => boolean;

/**
 * One matcher for the globs of an option; undefined where there are none.
 *
 * @param names undefined where it is no error that a glob matches none
 * @param things what `names` are the names of, for the error: "tensor"
 * @throws ArgumentError for a glob that matches none of `names`
 */
export function matcherOf(
  name: "include" | "exclude",
  globs: readonly string[] | undefined,
  names: readonly string[] | undefined,
  things: string,
): Matcher | undefined {
  if (globs === undefined || globs.length === 0) return undefined;
  const matchers = globs.map(compile);
  globs.forEach((glob, i) => {
    if (!names || names.some((each) => matchers[i]!(each))) return;
    const there = listNames(names.map(show)) || "none";
    throw new ArgumentError(name, `"${glob}" matches no ${things}; there are ${there}`, { code: "no-match" });
  });
  return (each) => matchers.some((matches) => matches(each));
}

/** A name in a message of one line: names of models may hold anything. */
function show(name: string): string {
  return /\p{C}/u.test(name) ? JSON.stringify(name) : name;
}

/**
 * `bash` lets `*` cross slashes, `dot` lets it match a leading dot. Names are not paths, nor lines: picomatch passes over
 * a leading "./" and stops at a line's end, so that a lone star, which means everything, is answered here.
 */
function compile(glob: string): Matcher {
  if (/^\*+$/.test(glob)) return () => true;
  return picomatch(glob, { bash: true, dot: true, windows: false, nonegate: true, flags: "s" });
}
