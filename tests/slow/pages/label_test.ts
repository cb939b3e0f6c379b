/** The page at `/label`, in Chromium. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import type { Page } from "playwright-core";
import { ApiKeys } from "../../../src/config/api_keys.ts";
import { TOKENIZER } from "../../support/serve.ts";
import { axeFaults, browserTest } from "./browser.ts";

const SHAPES = ["Round.", "A square has four sides.", "Hello", "Star, moon, and sun"];
const ANSWERS = {
  "Name a colour.": ["Red is a colour.", "Monday", "Blue.", "A colour is a colour."],
  "Say hello.": ["Hello!", "No.", "Hello, and welcome.", "Hello hello hello"],
};

/** Says how good an answer is by its length; so it is least sure where lengths are near. */
const scorer = {
  version: () => "rm@200",
  score: (prompts: readonly { answers: readonly { text: string }[] }[]) =>
    Promise.resolve({
      version: "rm@200",
      scores: prompts.map(({ answers }) => answers.map(({ text }) => text.length)),
    }),
};

const server = { answers: ANSWERS };
const two = { server, path: "/label" };
const three = { server: { answers: { ...ANSWERS, "Name a shape.": SHAPES } }, path: "/label" };

async function shown(page: Page): Promise<{ prompt: string; answers: string[] }> {
  await page.locator("#task").waitFor();
  return {
    prompt: await page.innerText("#prompt"),
    answers: await page.locator("#answers .text").allInnerTexts(),
  };
}

/** Waits until another prompt shows. */
async function other(page: Page, prompt: string): Promise<void> {
  await page.waitForFunction((before) => {
    return document.querySelector("#prompt")?.textContent !== before;
  }, prompt);
}

/** The texts of a record's candidates in its order, best first, those that tie together. */
// deno-lint-ignore no-explicit-any
function orderOf({ candidates, comparison, ranking }: any): string[][] {
  const text = (i: number): string => candidates[i].text;
  if (ranking) return ranking.map((group: number[]) => group.map(text));
  if (comparison.outcome === "tie") return [[text(0), text(1)]];
  return [[text(comparison.chosen)], [text(comparison.rejected)]];
}

browserTest("the better of two answers is chosen by keys", async ({ page, server }) => {
  const first = await shown(page);
  assertEquals(first.answers.length, 2);
  assertEquals(await page.evaluate(() => document.activeElement?.id), "task");
  await page.keyboard.press("2");
  assertMatch(await page.locator(".rank").nth(1).innerText(), /1st/);
  assertMatch(await page.locator(".rank").nth(0).innerText(), /2nd/);
  await page.keyboard.press("Enter");
  await other(page, first.prompt);
  const second = await shown(page);
  await page.keyboard.press("=");
  await page.keyboard.press("Enter");
  await page.locator("#empty").waitFor();
  assertEquals(await page.evaluate(() => document.activeElement?.id), "again");
  const [one, two] = await server.feedback();
  assertEquals(orderOf(one), [[first.answers[1]], [first.answers[0]]]);
  assertEquals(one.prompt, first.prompt);
  const asShown = one.presented_order.map((i: number) => one.candidates[i].text);
  assertEquals(asShown, first.answers, "the order in which they were shown is kept");
  assertEquals(two.comparison.outcome, "tie");
  assertEquals(two.prompt, second.prompt);
  assertEquals(two.labeler.kind, "human");
}, two);

browserTest("four answers are ranked, with ties, and put right", async ({ page, server }) => {
  await page.selectOption("#count", "4");
  await page.click("#skip");
  await page.locator("#answers li").nth(3).waitFor();
  const { prompt, answers } = await shown(page);
  const [a, b, c, d] = answers as [string, string, string, string];
  await page.keyboard.press("Enter");
  assertStringIncludes(await page.innerText("#fault"), "Cannot send yet");
  for (const key of ["3", "=", "1", "4"]) await page.keyboard.press(key);
  const places = await page.locator(".rank span").allInnerTexts();
  assertEquals(places, ["1st, tied", "4th", "1st, tied", "3rd"]);
  await page.keyboard.press("Enter");
  await other(page, prompt);
  const waiting = await shown(page);
  const [before] = await server.feedback();
  assertEquals(orderOf(before).map((group) => group.sort()), [[a, c].sort(), [d], [b]]);

  await page.keyboard.press("u");
  await other(page, waiting.prompt);
  assertEquals((await shown(page)).answers, answers, "the same ones again");
  for (const key of ["1", "2", "3"]) await page.keyboard.press(key);
  await page.keyboard.press("Enter");
  await other(page, prompt);
  assertEquals(await shown(page), waiting, "what waited is not lost");
  const after = (await server.feedback()).at(-1);
  assertEquals(orderOf(after), [[a], [b], [c], [d]]);
  assertEquals(after.supersedes, before.id);
}, three);

browserTest("a page that is loaded again shows the same answers", async ({ page }) => {
  const before = await shown(page);
  await page.reload();
  assertEquals(await shown(page), before);
}, three);

browserTest("both bad, undo, skip, and the pointer", async ({ page, server }) => {
  const first = await shown(page);
  await page.keyboard.press("1");
  await page.keyboard.press("Backspace");
  assertEquals(await page.locator(".rank span").allInnerTexts(), ["not ranked", "not ranked"]);
  await page.keyboard.press("s");
  await other(page, first.prompt);
  assertEquals(await server.feedback(), []);
  const second = await shown(page);
  await page.locator(".rank").nth(1).click();
  await page.click("#send");
  await page.locator("#empty").waitFor();
  assertEquals(orderOf((await server.feedback())[0])[0], [second.answers[1]]);
  await page.keyboard.press("Control+/");
  assert(await page.isVisible("#help-dialog"));
}, two);

browserTest("the queue begins where the reward model is least sure", async ({ page }) => {
  const { prompt, answers } = await shown(page);
  // Lengths 6 and 5 by far the nearest: "Hello!" is 6, and "Monday" and "Blue." are 6 and 5.
  assertEquals([prompt, answers.sort()], ["Name a colour.", ["Blue.", "Monday"]]);
  assertMatch(
    await page.innerText("#status"),
    /^2 prompts waiting · chosen where rm@200 is least sure: 0\.84 of 1 bit$/,
  );
}, { server: { answers: ANSWERS, scorer }, path: "/label" });

browserTest("answers can be asked for, and then ranked", async ({ page, server }) => {
  await page.locator("#empty").waitFor();
  await page.click("#ask summary");
  await page.fill("#new-prompt", "Once upon a time");
  await page.fill("#new-n", "many");
  await page.click("#ask button[type=submit]");
  const fault = page.locator("#new-n[aria-invalid=true]");
  await fault.waitFor();
  await page.fill("#new-n", "2");
  await page.click("#ask button[type=submit]");
  const { prompt, answers } = await shown(page);
  assertEquals([prompt, answers.sort()], ["Once upon a time", ["one", "two"]]);
  await page.keyboard.press("1");
  await page.keyboard.press("Enter");
  await page.locator("#empty").waitFor();
  assertEquals((await server.feedback()).length, 1);
}, {
  server: {
    answers: {},
    script: (_, choice) => TOKENIZER.encode(["one", "two"][choice]!),
    tokenizer: TOKENIZER,
  },
  path: "/label",
  expects: 400,
});

const made = new ApiKeys().create("people", ["feedback:write"], 0);

browserTest("a key with the scope feedback:write is enough", async ({ page }) => {
  await page.locator("#banner", { hasText: "API key" }).waitFor();
  await page.keyboard.type(made.text); // the dialog is open
  await page.keyboard.press("Enter");
  const { prompt } = await shown(page);
  await page.keyboard.press("1");
  await page.keyboard.press("Enter");
  await other(page, prompt);
}, { server: { answers: ANSWERS, keys: made.keys }, path: "/label", expects: 401 });

browserTest(
  "what the server refuses is said above the answers, which stay",
  async ({ page, server }) => {
    const { prompt } = await shown(page);
    const texts = ANSWERS[prompt as keyof typeof ANSWERS];
    const group = Object.keys(ANSWERS).indexOf(prompt);
    for (const i of texts.keys()) {
      server.fake.deps.feedback!.completions.erase(
        `cmpl-${group}-${i}`,
      );
    }
    await page.keyboard.press("1");
    await page.keyboard.press("Enter");
    await page.locator("#fault").waitFor();
    assertMatch(await page.innerText("#fault"), /completion/);
    await page.keyboard.press("s");
    await other(page, prompt);
  },
  { ...two, expects: 404 },
);

for (const colorScheme of ["light", "dark"] as const) {
  browserTest(`axe-core finds no fault on /label, ${colorScheme}`, async ({ page }) => {
    await shown(page);
    assertEquals(await axeFaults(page), [], "a task");
    await page.selectOption("#count", "4");
    await page.click("#skip");
    await page.locator("#answers li").nth(3).waitFor();
    for (const key of ["Enter", "1", "="]) await page.keyboard.press(key);
    assertEquals(await axeFaults(page), [], "half ranked, with an error");
    await page.click("#ask summary");
    await page.keyboard.press("Control+/");
    assertEquals(await axeFaults(page), [], "keys");
    await page.keyboard.press("Escape");
    for (let i = 0; i < 3 && await page.isVisible("#task"); i++) {
      await page.click("#skip");
      await page.waitForTimeout(100);
    }
    await page.locator("#empty").waitFor();
    assertEquals(await axeFaults(page), [], "nothing to rank");
  }, { ...two, browser: { colorScheme } });
}
