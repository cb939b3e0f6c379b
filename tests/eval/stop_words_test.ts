import { assertEquals } from "@std/assert";
import type { LocalRoutes } from "../../src/eval/in_process.ts";
import { predictWord } from "../../src/eval/stop_words.ts";
import { TOKENIZER } from "../support/served_runs.ts";

/** What may follow a passage, with probabilities; a token is a byte, and a point ends each word. */
type Ends = Readonly<Record<string, number>>;

/** A model that knows only the ends of one passage. */
function knowing(prompt: string, ends: Ends, contextLength = 64) {
  let asked = 0;
  const next: LocalRoutes["next"] = (ids) => {
    asked++;
    const written = TOKENIZER.decode([...ids]).slice(prompt.length);
    const shares = new Map<string, number>();
    for (const [end, share] of Object.entries(ends)) {
      if (!end.startsWith(written) || end === written) continue;
      const byte = end[written.length]!;
      shares.set(byte, (shares.get(byte) ?? 0) + share);
    }
    const all = [...shares.values()].reduce((sum, share) => sum + share, 0);
    const top = Array.from(shares, ([byte, share]) => {
      return { id: TOKENIZER.encode(byte)[0]!, logProbability: Math.log(share / all) };
    });
    return Promise.resolve(top);
  };
  const model = { model: { contextLength }, loaded: { tokenizer: TOKENIZER, endOfText: 0 } };
  const routes = { model, next } as unknown as Pick<LocalRoutes, "model" | "next">;
  return { word: () => predictWord(routes, prompt), asked: () => asked };
}

Deno.test("the likeliest word that is no stop word is predicted", async () => {
  const cases: [Ends, string | undefined][] = [
    [{ " the.": 0.5, " cat.": 0.3, " dog.": 0.2 }, "cat"],
    [{ " The.": 0.5, " dog.": 0.3, " cat.": 0.2 }, "dog"], // in any case
    // "ca" is the likeliest beginning, but no word of it is likelier than "dog".
    [{ " cat.": 0.22, " car.": 0.22, " cab.": 0.22, " dog.": 0.34 }, "dog"],
    // "them" goes on from a stop word, and is one; "thematic" is none.
    [{ " the.": 0.4, " them.": 0.35, " thematic.": 0.25 }, "thematic"],
    [{ ' "cat.': 0.6, " dog.": 0.4 }, "cat"], // opening marks are no part of it
    [{ " cat,": 0.3, " cat.": 0.25, " dog.": 0.45 }, "cat"], // however it ends
    [{ " the.": 1 }, undefined],
    [{ " ...": 1 }, undefined],
  ];
  for (const [ends, want] of cases) {
    assertEquals(await knowing("So it was", ends).word(), want, JSON.stringify(ends));
  }
});

Deno.test("a search for a word ends", async () => {
  const long = knowing("So", { [` ${"a".repeat(50)}.`]: 0.9, " the.": 0.1 });
  assertEquals(await long.word(), undefined);
  assertEquals(long.asked() <= 48, true);
  const full = knowing("So it was", { " cat.": 1 }, 11);
  assertEquals(await full.word(), undefined); // no room for the word's end
});
