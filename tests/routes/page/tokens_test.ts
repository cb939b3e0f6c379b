import { assertAlmostEquals, assertEquals } from "@std/assert";
import {
  CellReader,
  ChatCellReader,
  percent,
  perplexity,
  probability,
  surprise,
  visible,
} from "../../../routes/page/tokens.js";
import { byteIds, END, END_OF_TURN, FakeServe, ids, parseEvents } from "../../support/serve.ts";

/** What the routes send of a scripted text, as the page reads it. */
async function read(script: number[], body: object = {}) {
  const serve = new FakeServe({ script: () => script });
  const response = await serve.post("/v1/completions", {
    prompt: "zero",
    max_tokens: 60,
    logprobs: 2,
    stream: true,
    ...body,
  });
  const reader = new CellReader();
  let text = "";
  const cells = parseEvents(await response.text()).flatMap(({ choices: [choice] }) => {
    text += choice.text;
    return reader.push(choice.text, choice.logprobs);
  });
  const beforeEnd = cells.map((cell) => cell.text).join("") + reader.rest;
  cells.push(...reader.end());
  return { cells, text, rest: reader.rest, beforeEnd };
}

Deno.test("CellReader cuts a streamed text into its tokens", async () => {
  const { cells, text, rest, beforeEnd } = await read([...ids("hello world"), END]);
  assertEquals(text, "hello world");
  assertEquals(beforeEnd, "hello world"); // what has no cell yet is shown, too
  assertEquals([cells.map((cell) => cell.text).join(""), rest], ["hello world", ""]);
  assertEquals(cells.length, ids("hello world").length + 1);
  assertEquals(cells.at(-1), { ...cells.at(-1)!, text: "", token: "<|endoftext|>" });
  assertEquals(
    cells.map(({ top }) => top[0]!.logprob >= top.at(-1)!.logprob),
    cells.map(() => true),
  );
});

Deno.test("CellReader keeps a character that several tokens make whole", async () => {
  const { cells, text } = await read(byteIds("né 🦕!"));
  assertEquals(text, "né 🦕!");
  assertEquals(cells.map((cell) => cell.text).join(""), text);
  assertEquals(cells.length, byteIds("né 🦕!").length);
  assertEquals(cells.filter((cell) => /\uFFFD/.test(cell.text)), []);
});

Deno.test("CellReader keeps text that a stop string held back in its tokens", async () => {
  const { cells, text } = await read(byteIds("one two three"), { stop: ["two four"] });
  assertEquals(text, "one two three");
  assertEquals(cells.map((cell) => cell.text), [..."one two three"]);
});

Deno.test("CellReader leaves the tokens of a stop string without text", async () => {
  const { cells, text, rest } = await read(byteIds("one. two"), { stop: ["."] });
  assertEquals(text, "one");
  assertEquals([cells.map((cell) => cell.text).join(""), rest], ["one", ""]);
});

Deno.test("ChatCellReader makes characters of bytes, and gives what is left out no text", async () => {
  const serve = new FakeServe({ script: () => [...byteIds("a 🦕!"), END_OF_TURN] });
  const events = await serve.stream("/v1/chat/completions", {
    messages: [{ role: "user", content: "hello" }],
    logprobs: true,
    top_logprobs: 3,
  });
  const reader = new ChatCellReader();
  const cells = events.flatMap(({ choices: [choice] }) => {
    return reader.push(choice.delta.content ?? "", choice.logprobs?.content ?? []);
  });
  cells.push(...reader.end());
  assertEquals(cells.map((cell) => cell.text), ["a", " ", "", "", "", "🦕", "!", ""]);
  assertEquals([reader.rest, cells.at(-1)!.token, cells[0]!.top.length], ["", "<|end|>", 3]);
});

Deno.test("surprise() has five steps", () => {
  const shares = [1, 0.7, 0.69, 0.4, 0.39, 0.15, 0.14, 0.04, 0.039, 0];
  assertEquals(
    shares.map((share) => surprise(share === 0 ? -9999 : Math.log(share) + 1e-12)),
    [0, 0, 1, 1, 2, 2, 3, 3, 4, 4],
  );
});

Deno.test("percent() has the digits that a share needs", () => {
  assertEquals(
    [0, 0.00001, 0.0012, 0.034, 0.5, 0.9994, 0.9996, 1].map(percent),
    ["0 %", "< 0.01 %", "0.12 %", "3.4 %", "50.0 %", "99.9 %", "100 %", "100 %"],
  );
});

Deno.test("probability(), perplexity() and visible()", () => {
  assertEquals([probability(0), probability(-9999)], [1, 0]);
  assertEquals(perplexity([]), undefined);
  const cell = { text: "", token: "", top: [] };
  const cells = [{ ...cell, logprob: Math.log(0.5) }, { ...cell, logprob: Math.log(0.125) }];
  assertAlmostEquals(perplexity(cells)!, 4);
  assertEquals([visible(" a\n"), visible("")], ["␣a⏎", "(nothing)"]);
});
