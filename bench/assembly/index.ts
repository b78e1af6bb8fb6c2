// What only the benchmark calls, over the memory the kernels work on: the yardstick, and candidates for a kernel's place
// while they are being measured. No part of the published module.

/** The yardstick: what moving the same bytes costs. */
export function copy(dst: usize, src: usize, bytes: usize): void {
  memory.copy(dst, src, bytes);
}
