/** The page at `/`, in Chromium: Debian's package `chromium`, or any of that name on the PATH. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import type { Page } from "playwright-core";
import { ApiKeys } from "../../../src/config/api_keys.ts";
import { axeFaults, browserTest } from "./browser.ts";
import { ANSWER, PATHS, STORY } from "../../support/page_server.ts";

const QUESTION = "A farmer has 12 eggs and sells 5. How many are left?";

/** Writes on from a prompt, and waits for the end. */
async function write(page: Page, prompt = "Once upon a time"): Promise<void> {
  await page.fill("#w-prompt", prompt);
  await page.keyboard.press("Control+Enter");
  await page.waitForSelector("#write .written details");
}

async function classify(page: Page): Promise<void> {
  await page.keyboard.press("Alt+Digit2");
  await page.fill("#f-input", "I did not laugh once.");
  await page.keyboard.press("Control+Enter");
  await page.waitForSelector("#few-shot .bars");
}

async function reason(page: Page): Promise<void> {
  await page.keyboard.press("Alt+Digit3");
  await page.fill("#c-question", QUESTION);
  await page.keyboard.press("Control+Enter");
  await statusIs(page, "#reason", /^5 paths · /);
}

async function statusIs(page: Page, view: string, wanted: RegExp): Promise<void> {
  await page.locator(`${view} .status`, { hasText: wanted }).waitFor();
}

/** The field that has a fault, and what it says; the field has the focus. */
async function fault(page: Page, field: string): Promise<string> {
  const control = page.locator(`${field}[aria-invalid=true]`);
  await control.waitFor();
  const id = await control.getAttribute("aria-describedby");
  assert(await control.evaluate((element) => element === document.activeElement), field);
  assert(await page.locator(`#${id}`).isVisible());
  return await page.locator(`#${id}`).innerText();
}

browserTest("a text streams in, and can be gone on from", async ({ page, server }) => {
  await page.fill("#w-prompt", "Once upon a time");
  await page.keyboard.press("Control+Enter");
  await page.waitForFunction(() => {
    const shown = document.querySelectorAll("#write .token").length;
    return shown > 3 && document.querySelector("#write form")?.ariaBusy === "true";
  });
  const partly = await page.locator("#write .token").allTextContents();
  assert(STORY.startsWith(partly.join("")), partly.join(""));
  await page.waitForSelector("#write .written details");
  assertEquals((await page.locator("#write .token").allTextContents()).join(""), STORY);
  assertMatch(await page.innerText("#write .status"), /^\d+ tokens in [\d.]+ s/);
  await page.click("text=Go on from here");
  assertEquals(await page.inputValue("#w-prompt"), `Once upon a time${STORY}`);
  assertEquals(server.fake.runtime.calls[0]!.model, "stories");
}, { server: { tokenMs: 15 } });

browserTest("Esc ends a text, which stays as far as it came", async ({ page, server }) => {
  await page.fill("#w-prompt", "Once");
  await page.keyboard.press("Control+Enter");
  await page.locator("#write .token").nth(3).waitFor();
  await page.keyboard.press("Escape");
  await statusIs(page, "#write", /^Stopped$/);
  const [call] = server.fake.runtime.calls;
  while (!call!.left) await new Promise((resolve) => setTimeout(resolve, 10));
  assert(await page.locator("#write .token").count() < 30);
  assert(await page.isVisible("#write button[type=submit]"));
}, { server: { tokenMs: 40 } });

browserTest("a token tells its probability to the pointer", async ({ page }) => {
  await write(page);
  await page.locator("#write .token", { hasText: "brachiosaur" }).hover();
  const card = page.locator("#write .card");
  assertMatch(await card.innerText(), /brachiosaur\s+\d+\.\d %/);
  assert(await card.locator("tr").count() >= 4, "the likeliest others");
  await card.hover(); // it must not go when the pointer comes to it
  assert(await card.isVisible());
  await page.mouse.move(5, 5);
  await card.waitFor({ state: "hidden" });
  const steps = await page.locator("#write .written .token").evaluateAll((tokens) => {
    return [...new Set(tokens.map((token) => (token as HTMLElement).dataset.surprise))].sort();
  });
  assertEquals(steps, ["0", "1", "2", "3", "4"]);
});

browserTest("a chat keeps its turns", async ({ page, server }) => {
  await page.selectOption("#w-mode", "chat");
  for (const [turn, text] of ["Tell me a story", "Go on"].entries()) {
    await page.fill("#w-prompt", text);
    await page.keyboard.press("Control+Enter");
    await page.locator("#write .turn").nth(2 * turn + 1).waitFor();
  }
  const turns = await page.locator("#write .turn .text").allInnerTexts();
  assertEquals(turns.map((text) => text.replace("▪", "").trim()), [
    "Tell me a story",
    ANSWER,
    "Go on",
    ANSWER,
  ]);
  assertEquals(server.fake.runtime.calls.length, 2);
});

browserTest("few-shot shows labels as bars, by any score at once", async ({ page, server }) => {
  await classify(page);
  const share = () => page.locator("#few-shot .best .share").innerText();
  assertEquals(await page.innerText("#few-shot .best th"), "negative");
  const byLogProbability = await share();
  const width = await page.locator("#few-shot .best .bar > span").evaluate((fill) => {
    return fill.getBoundingClientRect().width / fill.parentElement!.getBoundingClientRect().width;
  });
  assert(Math.abs(100 * width - parseFloat(byLogProbability)) < 1, `${width}`);
  const calls = server.fake.runtime.calls.length;
  await page.selectOption("#f-normalization", "token");
  assert(await share() !== byLogProbability);
  assertEquals(server.fake.runtime.calls.length, calls, "no other request");
  await page.click("#few-shot summary >> text=The prompt");
  assertMatch(
    await page.innerText("#few-shot pre"),
    /^I would watch it again\.\npositive\n\n.*\n\nI did not laugh once\.\n$/s,
  );
});

browserTest("few-shot writes outputs, too", async ({ page }) => {
  await page.keyboard.press("Alt+Digit2");
  await page.selectOption("#f-task", "generate");
  await page.fill("#f-input", "Once upon a time");
  await page.click("#few-shot button[type=submit]");
  await page.waitForSelector("#few-shot .written details");
  assertEquals((await page.locator("#few-shot .token").allTextContents()).join(""), STORY);
});

browserTest("paths stream side by side and vote", async ({ page }) => {
  await page.keyboard.press("Alt+Digit3");
  await page.fill("#c-question", QUESTION);
  await page.keyboard.press("Control+Enter");
  await page.waitForFunction(() => {
    const texts = [...document.querySelectorAll("#reason .path .text.live")];
    return texts.length === 5 && texts.every((text) => text.textContent !== "");
  });
  await statusIs(page, "#reason", /^5 paths · \d+ tokens/);
  assertEquals(await page.innerText("#reason .answer strong"), "7");
  const rows = await page.locator("#reason .bars tbody tr").allInnerTexts();
  assertEquals(rows.map((row) => row.split(/\s*\t\s*/).filter(Boolean).join(", ")), [
    "7, 80.0 %, 4 votes",
    "17, 20.0 %, 1 vote",
  ]);
  const shown = await page.locator("#reason .path .text").allInnerTexts();
  assertEquals(shown, PATHS.map(({ text }) => text.trim()));
  assertEquals(await page.locator("#reason .path.agrees").count(), 4);
}, { server: { tokenMs: 5 } });

browserTest("an error shows where it was typed", async ({ page }) => {
  const run = () => page.keyboard.press("Control+Enter");
  await page.fill("#w-prompt", "Once");
  await page.fill("#w-temperature", "hot");
  await run();
  assertStringIncludes(await fault(page, "#w-temperature"), "want a number");
  await page.fill("#w-temperature", "");
  await page.fill("#w-max", "5000");
  await run();
  assertStringIncludes(await fault(page, "#w-max"), "1024");
  assertEquals(await page.locator("[aria-invalid]").count(), 1, "the first error has gone");
  await page.fill("#w-max", "");

  await page.keyboard.press("Alt+Digit2");
  await page.fill("#f-input", "x");
  const labels = page.locator("#f-labels input");
  await labels.nth(1).fill("positive");
  await run();
  assertStringIncludes(await fault(page, "#f-labels .row:nth-child(2) input"), "positive");
  await labels.nth(1).fill("negative");
  await page.click("#few-shot summary >> text=Template");
  await page.fill("#f-format", "{input} only");
  await page.click("#few-shot summary >> text=Template"); // closed: it has to open for the error
  await page.focus("#f-input");
  await run();
  assertStringIncludes(await fault(page, "#f-format"), "{output}");
  await page.fill("#f-format", "");
  await page.selectOption("#model", "short");
  await page.focus("#f-input");
  await run();
  assertStringIncludes(await fault(page, "#f-input"), "24"); // tokens of the model's context
  await page.selectOption("#model", "stories");

  await page.keyboard.press("Alt+Digit3");
  await page.fill("#c-question", "x");
  await page.selectOption("#c-type", "regex");
  await page.fill("#c-regex", "(");
  await run();
  assertStringIncludes(await fault(page, "#c-regex"), "Cannot");
  await page.fill("#c-regex", "");
  await run();
  assertStringIncludes(await fault(page, "#c-regex"), "missing");
  await page.selectOption("#c-type", "number");
  await page.selectOption("#c-aggregate", "reward");
  await run();
  assertStringIncludes(await fault(page, "#c-aggregate"), "reward model");
}, { expects: 400 });

browserTest("a stream that fails says so above what came", async ({ page }) => {
  await page.fill("#w-prompt", "Once");
  await page.keyboard.press("Control+Enter");
  const whole = page.locator("#write .fault.whole");
  await whole.waitFor();
  assertStringIncludes(await whole.innerText(), "The server had an error");
  assert(await page.locator("#write .token").count() > 0);
}, {
  server: {
    before: () => {
      if (++events > 9) throw new Error("device lost");
    },
  },
});
let events = 0;

const made = new ApiKeys().create("people", ["infer"], 0);

browserTest("an API key is asked for, checked, and kept in the tab only", async ({ page }) => {
  await page.locator("#banner", { hasText: "asks for an API key" }).waitFor();
  await page.keyboard.press("Alt+KeyK");
  await page.keyboard.type("wrong");
  await page.keyboard.press("Enter");
  assertStringIncludes(await fault(page, "#key"), "valid API key");
  await page.keyboard.type(made.text);
  await page.keyboard.press("Enter");
  await page.locator("#model option").first().waitFor({ state: "attached" });
  await page.locator("#banner").waitFor({ state: "hidden" });
  await write(page);
  const stored = await page.evaluate(() => [
    Object.values(sessionStorage).join(),
    Object.values(localStorage).join() + document.cookie + location.href,
  ]);
  assertStringIncludes(stored[0]!, made.text);
  assert(!stored[1]!.includes(made.text));
  await page.keyboard.press("Alt+KeyK");
  await page.click("#forget-key");
  assert(!(await page.evaluate(() => Object.values(sessionStorage).join())).includes(made.text));
  await page.locator("#banner", { hasText: "asks for an API key" }).waitFor();
}, { server: { keys: made.keys }, expects: 401 });

browserTest("everything is done without a pointer", async ({ page }) => {
  const press = (keys: string) => page.keyboard.press(keys);
  const active = () => page.evaluate(() => document.activeElement?.id);
  await press("Tab");
  assertEquals(await page.evaluate(() => document.activeElement?.textContent), "Skip to the form");
  await press("Enter");
  await press("Tab");
  assertEquals(await active(), "w-prompt");
  await page.keyboard.type("Once upon a time");
  await press("Control+Enter");
  await page.waitForSelector("#write .written details");
  await press("Alt+KeyR");
  await press("ArrowRight");
  await press("ArrowRight");
  assertMatch(await page.locator("#write .spoken").innerText(), /^␣was 46\.0 %; also /);
  assert(await page.isVisible("#write .card"));
  await press("Escape");
  assert(await page.isHidden("#write .card"));

  await press("Alt+Digit2");
  await page.focus("#f-labels .row:last-child input");
  await press("Enter");
  await page.keyboard.type("mixed");
  assertEquals(
    await page.locator("#f-labels input").evaluateAll((all) => {
      return all.map((input) => (input as HTMLInputElement).value);
    }),
    ["positive", "negative", "mixed"],
  );
  for (let i = 0; i < 6; i++) await press("Backspace");
  assertEquals(await page.locator("#f-labels input").count(), 2);
  assertEquals(
    await page.evaluate(() => (document.activeElement as HTMLInputElement).value),
    "negative",
  );

  await page.focus("#tab-few-shot");
  await press("ArrowRight");
  assertEquals([await active(), await page.isVisible("#reason")], ["tab-reason", true]);
  assertMatch(page.url(), /#reason$/);
  await press("Control+/");
  assert(await page.isVisible("#help-dialog"));
  await press("Escape");
  assert(await page.isHidden("#help-dialog"));
  assertEquals(await active(), "tab-reason", "the focus goes back");
  await press("Alt+KeyM");
  await press("ArrowDown");
  assertEquals(await page.inputValue("#model"), "stories@250");
});

browserTest("what was typed is there after a reload", async ({ page }) => {
  await page.fill("#w-prompt", "Once more");
  await page.keyboard.press("Alt+Digit2");
  await page.locator("#f-examples input").first().fill("Good.");
  await page.reload();
  assert(await page.isVisible("#few-shot"));
  assertEquals(await page.inputValue("#w-prompt"), "Once more");
  assertEquals(await page.locator("#f-examples input").first().inputValue(), "Good.");
});

for (const colorScheme of ["light", "dark"] as const) {
  browserTest(`axe-core finds no fault, ${colorScheme}`, async ({ page }) => {
    const check = async (what: string) => assertEquals(await axeFaults(page), [], what);
    await write(page);
    await page.click("#write summary >> text=All tokens");
    await page.locator("#write .token").nth(8).hover();
    await check("write");
    await page.fill("#w-n", "many");
    await page.keyboard.press("Control+Enter");
    await fault(page, "#w-n");
    await check("an error");
    await page.selectOption("#w-mode", "chat");
    await page.fill("#w-n", "");
    await page.fill("#w-prompt", "Hello");
    await page.keyboard.press("Control+Enter");
    await page.waitForSelector("#write .turn");
    await check("chat");
    await classify(page);
    for (const summary of await page.locator("#few-shot .settings summary").all()) {
      await summary.click();
    }
    await check("few-shot");
    await reason(page);
    await check("reason");
    await page.keyboard.press("Control+/");
    await check("keys");
    await page.keyboard.press("Escape");
    await page.keyboard.press("Alt+KeyK");
    await check("API key");
  }, { browser: { colorScheme }, expects: 400 });
}

browserTest("light and dark follow the system, or the button", async ({ page }) => {
  const paper = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  assertEquals(await paper(), "rgb(20, 22, 26)");
  await page.click("#theme");
  assertEquals(await paper(), "rgb(251, 250, 248)");
  await page.reload();
  assertEquals(await paper(), "rgb(251, 250, 248)", "the choice is kept");
  await page.click("#theme");
  await page.click("#theme");
  assertEquals(await paper(), "rgb(20, 22, 26)");
}, { browser: { colorScheme: "dark" } });

browserTest(
  "nothing moves for who wants no motion, and a narrow window scrolls one way",
  async ({ page }) => {
    await page.fill("#w-prompt", "Once");
    await page.keyboard.press("Control+Enter");
    await page.waitForSelector(
      "#write [aria-busy=true] .text.live, #write [aria-busy=true] .token",
    );
    const moves = await page.evaluate(() => document.getAnimations().length);
    assertEquals(moves, 0);
    await classify(page);
    await reason(page);
    for (const view of ["#tab-write", "#tab-few-shot", "#tab-reason"]) {
      await page.click(view);
      const width = await page.evaluate(() => document.documentElement.scrollWidth);
      assert(width <= 360, `${view} is ${width} wide`);
    }
  },
  {
    server: { tokenMs: 5 },
    browser: { reducedMotion: "reduce", viewport: { width: 360, height: 700 } },
  },
);

browserTest("/docs shows every route, from this server alone", async ({ page }) => {
  await page.waitForSelector(".opblock-summary-path");
  const shown = await page.locator(".opblock-summary-path").allInnerTexts();
  assert(shown.some((path) => path.replaceAll("\u200b", "") === "/v1/few-shot"), shown.join());
}, { path: "/docs" });
