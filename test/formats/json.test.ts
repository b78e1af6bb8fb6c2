import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type JsonValue, parseJson, parseMembers, show } from "../../src/formats/json.ts";

const fail = (message: string, path: readonly string[]) => new Error([...path, message].join("/"));
const parse = (text: string) => parseJson(text, fail);

/** What `JSON.parse` would have made of it. */
function plain(value: JsonValue): unknown {
  if (value instanceof Map) return Object.fromEntries(Array.from(value, ([key, item]) => [key, plain(item)]));
  return Array.isArray(value) ? value.map(plain) : value;
}

/** Zeros lose their sign on the way in. */
function unsigned(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}

describe("parseJson", () => {
  it("reads what JSON.parse reads, however it is laid out", () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 4 }), fc.constantFrom(0, 2, "\t"), (value, indent) => {
        const text = JSON.stringify(value, null, indent).replaceAll("\n", "\r\n");
        expect(plain(parse(` ${text}\n`))).toEqual(unsigned(JSON.parse(text)));
      }),
    );
  });

  it("refuses the damaged texts that JSON.parse refuses, and for no reasons but its own two otherwise", () => {
    const marks = fc.constantFrom(...'{}[],:"\\ tfn01-+.eEu/\u0000\u001f\u00a0é');
    fc.assert(
      fc.property(fc.json({ maxDepth: 3 }), fc.nat(), marks, fc.boolean(), (text, where, mark, insert) => {
        const at = where % text.length;
        const damaged = text.slice(0, at) + mark + text.slice(insert ? at : at + 1);
        const ours = refusal(() => parse(damaged));
        if (refusal(() => JSON.parse(damaged)) !== undefined) expect(ours).toBeDefined();
        else expect(ours ?? "bad escape").toMatch(/given twice|bad escape/);
      }),
      { numRuns: 2000 },
    );
  });

  it("reads any number of arrays side by side, and -0 as 0", () => {
    expect(parse(`[${"[],".repeat(200)}-0]`)).toEqual([...Array.from({ length: 200 }, () => []), 0]);
  });

  it("keeps the order of the keys, integers and __proto__ among them", () => {
    const value = parse('{"b":1,"10":2,"__proto__":{"x":3},"9":4}') as Map<string, JsonValue>;
    expect([...value.keys()]).toEqual(["b", "10", "__proto__", "9"]);
    expect(({} as { x?: number }).x).toBeUndefined();
  });

  it.each(
    [
      ["", "expected a value at character 0, found the end"],
      ['{"a":1', 'expected "," or "}" at character 6, found the end'],
      ['{"a":1,}', 'expected a string at character 7, found "}"'],
      ["{a:1}", 'expected a string at character 1, found "a"'],
      ['{"a" 1}', 'a/expected ":" at character 5, found "1"'],
      ["[1 2]", 'expected "," or "]" at character 3, found "2"'],
      ["[1,]", 'expected a value at character 3, found "]"'],
      ["1 x", 'expected nothing more at character 2, found "x"'],
      ["01", 'expected nothing more at character 1, found "1"'],
      ["nul", 'expected a value at character 0, found "n"'],
      ['"abc', "expected a string's end at character 4, found the end"],
      ['"a\nb"', 'expected a string\'s end at character 2, found "\\n"'],
      ['"\\x"', "bad escape in the string at character 0"],
      ['"\\', "expected a string's end at character 3, found the end"],
      ['"\\ud800"', "bad escape in the string at character 0"],
      ['{"a":{"b":0,"\\u0062":1}}', 'a/b/key "b" is given twice'],
      ["[".repeat(129), "nested more than 128 deep"],
      [`[${"[],".repeat(8_000_000)}`, "holds too many values"],
    ].map(([text, message]) => ({ text: text!, message: message! })),
  )("refuses a text: $message", ({ text, message }) => {
    expect(() => parse(text)).toThrow(new Error(message));
  });
});

describe("parseMembers", () => {
  it("converts member by member, in their order", () => {
    const seen: string[] = [];
    const members = parseMembers(' {"b":[1],"__proto__":{"x":2},"1":3}\n', fail, (key, value) => {
      seen.push(key);
      return [value].flat().length + key;
    });
    expect([...members]).toEqual([
      ["b", "1b"],
      ["__proto__", "1__proto__"],
      ["1", "11"],
    ]);
    expect(seen).toEqual(["b", "__proto__", "1"]);
  });

  it("reads no further than to what convert throws", () => {
    const read = () =>
      parseMembers('{"a":1,"b":2 and nonsense', fail, (key) => {
        throw new Error(`no ${key}`);
      });
    expect(read).toThrow(new Error("no a"));
  });

  it("takes any number of members, each of a million values at most", () => {
    const text = (n: number) => `{"a":0,"b":[${"0,".repeat(n)}0],"c":[${"0,".repeat(n)}0]}`;
    expect(parseMembers(text(999_998), fail, () => 1).size).toBe(3);
    expect(() => parseMembers(text(999_999), fail, () => 1)).toThrow(new Error("b/holds too many values"));
  });

  it.each(
    [
      ["[]", 'expected an object at character 0, found "["'],
      ["", "expected an object at character 0, found the end"],
      ["{} 1", 'expected nothing more at character 3, found "1"'],
      ['{"a":1,"a":2}', 'a/key "a" is given twice'],
      ['{"a":{"b":1,"b":2}}', 'a/b/key "b" is given twice'],
      [`{"a":${"[".repeat(128)}`, "a/nested more than 128 deep"],
    ].map(([text, message]) => ({ text: text!, message: message! })),
  )("refuses members: $message", ({ text, message }) => {
    expect(() => parseMembers(text, fail, (_, value) => value)).toThrow(new Error(message));
  });
});

function refusal(read: () => unknown): string | undefined {
  try {
    read();
  } catch (error) {
    return (error as Error).message;
  }
}

describe("show", () => {
  it("fits any value on one short line", () => {
    expect(show(undefined)).toBe("nothing");
    expect(show(new Map())).toBe("an object");
    expect(show("a\nb")).toBe('"a\\nb"');
    expect(show([1, 2])).toBe("[1,2]");
    expect(show("x".repeat(1000))).toHaveLength(81);
  });
});
