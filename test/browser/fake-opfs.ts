/**
 * An origin private file system in memory, as far as it is used here and as Chrome behaves: what a writable stream is given
 * appears when it is closed, entries that are written to are locked, and moving replaces.
 */
export class FakeFolder {
  readonly kind = "directory";
  readonly entries = new Map<string, FakeFolder | FakeFile>();
  /** Asked before anything is done: throws to refuse it. */
  refuse: (what: "create" | "write" | "close" | "move" | "remove", name: string) => void = () => {};

  constructor(
    readonly name = "",
    readonly parent?: FakeFolder,
  ) {}

  #named(name: string) {
    if (name === "" || name === "." || name === ".." || /[\\/]/.test(name)) throw new TypeError("Name is not allowed.");
    return this.entries.get(name);
  }

  async getFileHandle(name: string, { create = false } = {}): Promise<FakeFile> {
    const there = this.#named(name);
    if (there instanceof FakeFolder) throw new DOMException("a folder", "TypeMismatchError");
    if (there) return there;
    if (!create) throw new DOMException("missing", "NotFoundError");
    this.refuse("create", name);
    const file = new FakeFile(name, this);
    this.entries.set(name, file);
    return file;
  }

  async getDirectoryHandle(name: string, { create = false } = {}): Promise<FakeFolder> {
    const there = this.#named(name);
    if (there instanceof FakeFile) throw new DOMException("a file", "TypeMismatchError");
    if (there) return there;
    if (!create) throw new DOMException("missing", "NotFoundError");
    const folder = new FakeFolder(name, this);
    folder.refuse = (what, entry) => this.refuse(what, entry);
    this.entries.set(name, folder);
    return folder;
  }

  async removeEntry(name: string): Promise<void> {
    const there = this.#named(name);
    if (!there) throw new DOMException("missing", "NotFoundError");
    if (there instanceof FakeFile) there.checkUnlocked();
    this.refuse("remove", name);
    this.entries.delete(name);
  }

  async resolve(file: FakeFile): Promise<string[] | null> {
    const steps: string[] = [];
    for (let at: FakeFolder | FakeFile | undefined = file; at; at = at.parent) {
      if (at === this) return steps;
      steps.unshift(at.name);
    }
    return null;
  }

  /** Names of entries, in order. */
  get names(): string[] {
    return [...this.entries.keys()].sort();
  }

  /** Puts a file there, in folders that are made on the way. */
  async put(path: string, text = ""): Promise<FakeFile> {
    const steps = path.split("/");
    let folder: FakeFolder = this;
    for (const step of steps.slice(0, -1)) folder = await folder.getDirectoryHandle(step, { create: true });
    const file = new FakeFile(steps.at(-1)!, folder);
    file.bytes = new TextEncoder().encode(text);
    folder.entries.set(file.name, file);
    return file;
  }

  /** What is in a file. */
  text(name: string): string | undefined {
    const there = this.entries.get(name);
    return there instanceof FakeFile ? new TextDecoder().decode(there.bytes) : undefined;
  }
}

export class FakeFile {
  readonly kind = "file";
  bytes: Uint8Array<ArrayBuffer> = new Uint8Array(0);
  locks = 0;

  constructor(
    public name: string,
    public parent?: FakeFolder,
  ) {}

  checkUnlocked(): void {
    if (this.locks > 0) throw new DOMException("locked", "NoModificationAllowedError");
  }

  refuse(what: "write" | "close" | "move"): void {
    this.parent?.refuse(what, this.name);
  }

  async getFile(): Promise<File> {
    return new File([this.bytes], this.name);
  }

  async move(folder: FakeFolder, name: string): Promise<void> {
    this.checkUnlocked();
    const there = folder.entries.get(name);
    if (there instanceof FakeFolder) throw new DOMException("a folder", "InvalidModificationError");
    there?.checkUnlocked();
    folder.refuse("move", name);
    this.parent?.entries.delete(this.name);
    this.name = name;
    this.parent = folder;
    folder.entries.set(name, this);
  }

  async createWritable(): Promise<FakeStream> {
    return new FakeStream(this);
  }
}

class FakeStream {
  #swap = new Uint8Array(0);
  #state: "writable" | "closed" | "errored" = "writable";
  #error: unknown;

  constructor(private readonly file: FakeFile) {
    file.locks++;
  }

  async write({ position, data }: { position: number; data: Uint8Array }): Promise<void> {
    this.#check();
    try {
      this.file.refuse("write");
    } catch (error) {
      this.#end("errored", error);
      throw error;
    }
    const grown = new Uint8Array(Math.max(this.#swap.byteLength, position + data.byteLength));
    grown.set(this.#swap);
    grown.set(data, position);
    this.#swap = grown;
  }

  async close(): Promise<void> {
    this.#check();
    try {
      this.file.refuse("close");
    } catch (error) {
      this.#end("errored", error);
      throw error;
    }
    this.file.bytes = this.#swap;
    this.#end("closed");
  }

  async abort(reason: unknown): Promise<void> {
    if (this.#state === "writable") this.#end("errored", reason);
  }

  #check(): void {
    if (this.#state === "closed") throw new TypeError("Cannot write to a CLOSED writable stream");
    if (this.#state === "errored") throw this.#error;
  }

  #end(state: "closed" | "errored", error?: unknown): void {
    this.#state = state;
    this.#error = error;
    this.file.locks--;
  }
}
