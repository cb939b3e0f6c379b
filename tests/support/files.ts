/**
 * Temporary folders and child processes for tests under tests/system/.
 *
 * @module
 */

/** Runs a test with a folder of its own, which is removed afterwards. */
export async function withFolder(run: (folder: string) => void | Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "brachio-test-" });
  try {
    await run(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Paths of all files below a folder, sorted. */
export async function filesIn(folder: string): Promise<string[]> {
  const paths: string[] = [];
  for await (const entry of Deno.readDir(folder)) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory) paths.push(...await filesIn(path));
    else paths.push(path);
  }
  return paths.sort();
}

/** A program of this repository in a process of its own that may read and write files. */
export function program(path: URL, args: string[]): string[] {
  return ["run", "--quiet", "--no-prompt", "--allow-read", "--allow-write", path.pathname, ...args];
}

/** Starts such a program with its stdout piped. */
export function start(path: URL, args: string[]): Deno.ChildProcess {
  return new Deno.Command("deno", { args: program(path, args), stdout: "piped" }).spawn();
}

/** Lines of a child's stdout as they come; the last one may be cut off. */
export async function* linesOf(child: Deno.ChildProcess): AsyncGenerator<string> {
  let held = "";
  for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
    const lines = (held + text).split("\n");
    held = lines.pop()!;
    yield* lines;
  }
}
