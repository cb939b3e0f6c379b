/**
 * A process that saves completions until it is killed, and says on stdout which are on the disk.
 *
 *     deno run tests/support/completion_writer.ts DATABASE
 *
 * @module
 */
import { CompletionStore } from "../../src/feedback/completion_store.ts";
import { openDatabase } from "../../src/feedback/database.ts";

const SAVES_AT_ONCE = 20;

const store = new CompletionStore(openDatabase(Deno.args[0]!));
for (let next = 0;; next += SAVES_AT_ONCE) {
  const ids = Array.from({ length: SAVES_AT_ONCE }, (_, i) => `r${next + i}`);
  await Promise.all(ids.map((id) =>
    store.save({
      id,
      kind: "completion",
      created: next,
      model: "small",
      weightsHash: "",
      promptIds: [1, 2, 3],
      prompt: undefined,
      text: "four",
      tokenIds: [4],
      logProbabilities: [-1],
      sampling: {},
      maxTokens: 1,
      finishReason: "stop",
    })
  ));
  console.log(ids.join("\n"));
}
