/** Options as they are typed, where the library says `opset: 13` or `the format "qdq"`. */
export function inOptions(text: string): string {
  return text
    .replace(/\bopset: (\d+)/g, "--opset $1")
    .replace(/\bopTypes: (\w+)/g, "--op-types $1")
    .replace(/\bclamp: true\b/g, "--clamp")
    .replace(/, exclude leaves/g, ", --exclude leaves")
    .replace(/the format "(\w+)"/g, "--format $1");
}
