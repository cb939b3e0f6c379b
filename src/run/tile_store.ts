/**
 * Choices of tiles that were timed once on an adapter, kept in the user's cache folder.
 *
 * @module
 */
import { join } from "node:path";

/** Keeps choices by adapter; what cannot be read or written is timed again. */
export class FileTileStore {
  readonly #folder: string;

  /** A store. @param folder where a file for each adapter lies; made when something is saved */
  constructor(folder: string) {
    this.#folder = folder;
  }

  /** The store in the user's cache folder, or undefined where the process may not know it. */
  static open(): FileTileStore | undefined {
    try {
      const home = Deno.env.get("HOME");
      const cache = Deno.env.get("XDG_CACHE_HOME") || (home && join(home, ".cache"));
      return cache ? new FileTileStore(join(cache, "brachio", "tiles")) : undefined;
    } catch (error) {
      if (error instanceof Deno.errors.NotCapable) return undefined;
      throw error;
    }
  }

  /** What was chosen on an adapter; undefined where nothing was, or it cannot be read. */
  async load(adapter: string): Promise<Record<string, string> | undefined> {
    try {
      const found: unknown = JSON.parse(await Deno.readTextFile(this.#file(adapter)));
      const isTable = typeof found === "object" && found !== null &&
        Object.values(found).every((name) => typeof name === "string");
      return isTable ? found as Record<string, string> : undefined;
    } catch {
      return undefined; // a lost cache costs a second
    }
  }

  /** Keeps what was chosen on an adapter. */
  async save(adapter: string, choices: Readonly<Record<string, string>>): Promise<void> {
    const file = this.#file(adapter);
    try {
      await Deno.mkdir(this.#folder, { recursive: true });
      const temporary = `${file}.${crypto.randomUUID()}`;
      await Deno.writeTextFile(temporary, JSON.stringify(choices, null, 1) + "\n");
      await Deno.rename(temporary, file);
    } catch {
      // As above.
    }
  }

  #file(adapter: string): string {
    const slug = adapter.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "");
    return join(this.#folder, `${slug}.json`);
  }
}
