/**
 * What was measured on an adapter: `bench/results/<adapter>.json`, a result by name.
 *
 * @module
 */

/** What every result says. */
export interface SavedResult {
  /** When, as ISO 8601 has it. */
  date: string;
  /** On what. */
  adapter: string;
  /** With which programs. */
  versions: Readonly<Record<string, string>>;
}

/** Adds results to the adapter's file, and charts beside it; other results stay. */
export async function save(
  adapter: string,
  results: Readonly<Record<string, SavedResult>>,
  charts: ReadonlyMap<string, string> = new Map(),
): Promise<void> {
  const slug = adapter.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "");
  const folder = new URL("./results/", import.meta.url);
  const file = new URL(`${slug}.json`, folder);
  await Deno.mkdir(folder, { recursive: true });
  const known = await Deno.readTextFile(file).then(JSON.parse, (error) => {
    if (error instanceof Deno.errors.NotFound) return {};
    throw error;
  });
  await Deno.writeTextFile(file, JSON.stringify({ ...known, ...results }, null, 1) + "\n");
  for (const [name, svg] of charts) {
    await Deno.writeTextFile(new URL(`${slug}-${name}.svg`, folder), svg);
  }
}
