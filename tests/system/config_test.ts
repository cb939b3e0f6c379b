import { assertEquals, assertRejects } from "@std/assert";
import * as z from "zod";
import { CannotError } from "../../src/config/cannot.ts";
import { loadConfig } from "../../src/config/config.ts";
import { withFolder } from "../support/files.ts";
import { systemTest } from "../support/system.ts";

const schema = z.strictObject({
  model: z.strictObject({ layers: z.int().min(1).default(4), heads: z.int().default(4) }).prefault(
    {},
  ),
  seed: z.int().default(0),
});

systemTest("loadConfig() reads JSONC, lays flags on top, and names lines", async () => {
  await withFolder(async (folder) => {
    const file = `${folder}/tiny.jsonc`;
    const load = (set: string[] = []) => loadConfig(schema, { base: { seed: 1 }, file, set });
    await Deno.writeTextFile(file, '{\n  // a comment\n  "model": { "layers": 2, },\n}\n');
    assertEquals(await load(), { model: { layers: 2, heads: 4 }, seed: 1 });
    assertEquals(await load(["model.heads=8"]), { model: { layers: 2, heads: 8 }, seed: 1 });

    const cases: [string, string][] = [
      [
        '{\n"model": {\n"layers": "two"}}',
        `use ${file}, line 3: want a number in "model.layers": got "two"`,
      ],
      [
        '{\n\n"modl": {}}',
        `use ${file}, line 3: want known keys: there is no "modl", did you mean "model"?`,
      ],
      [
        '{"seed": 1,\n"seed": 2}',
        `read ${file}: want each key once: "seed" again in line 2, column 1`,
      ],
      ['{\n"seed": }', `read ${file}: want JSON: value expected in line 2, column 9`],
      ["", `read ${file}: want JSON: value expected in line 1, column 1`],
      ["[1]", `read ${file}: want an object: it has none`],
    ];
    for (const [text, message] of cases) {
      await Deno.writeTextFile(file, text);
      const error = await assertRejects(() => load(), CannotError);
      assertEquals(error.message, `Cannot ${message}`);
    }
    await Deno.remove(file);
    const message = `Cannot read ${file}: want a readable file: no such file or folder`;
    await assertRejects(() => load(), CannotError, message);
  });
});
