/** Remembers what a function gave for the same words. */
export function once<A extends readonly string[], T>(make: (...words: A) => Promise<T>): (...words: A) => Promise<T> {
  const made = new Map<string, Promise<T>>();
  return (...words) => {
    const key = words.join("\n");
    if (!made.has(key)) made.set(key, make(...words));
    return made.get(key)!;
  };
}
