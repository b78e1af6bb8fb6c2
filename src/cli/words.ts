/** Options as they are typed, where the library says `opset: 13` or `the format "qdq"`. */
export function inOptions(text: string): string {
  return text
    .replace(/\bopset: (\d+)/g, "--opset $1")
    .replace(/\bopTypes: (\w+)/g, "--op-types $1")
    .replace(/\bif opTypes names it\b/g, "if --op-types names it")
    .replace(/\bagain: true\b/g, "--again")
    .replace(/\breduceRange: true\b/g, "--reduce-range")
    .replace(/\bdtype: (\w+)/g, "--dtype $1")
    .replace(/\blike: onnxruntime\b/g, "--like onnxruntime")
    .replace(/\bclamp: true\b/g, "--clamp")
    .replace(/, exclude leaves/g, ", --exclude leaves")
    .replace(/the format "(\w+)"/g, "--format $1");
}
