import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, statSync } from "node:fs";
import { join, resolve } from "node:path";

const root = resolve(import.meta.dirname, "..");

/** Unit tests need no build but the kernels': they are compiled where there are none or their sources are newer. */
export default function setup(): void {
  const built = join(root, "dist/kernels.wasm");
  const sources = [join(root, "asconfig.json"), ...filesIn(join(root, "assembly"))];
  const newest = Math.max(...sources.map((path) => statSync(path).mtimeMs));
  if (existsSync(built) && statSync(built).mtimeMs >= newest) return;
  execFileSync("npm", ["run", "-s", "build:wasm"], {
    cwd: root,
    stdio: "inherit",
    shell: process.platform === "win32",
  });
}

function filesIn(folder: string): string[] {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name));
}
