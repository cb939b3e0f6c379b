/**
 * Makes the pictures of the README: `deno task screenshots`. The texts on them are a script's, not
 * a model's.
 *
 * @module
 */
import type { Browser, Page } from "playwright-core";
import { startPageServer } from "../../support/page_server.ts";
import { chromiumPath, launch } from "./browser.ts";

const ANSWERS = {
  "Name a colour, and say why you like it.": [
    "Blue, since it is the colour of the sea on a clear day, and of most of the sky.",
    "Monday, I think. It comes before Tuesday and after Sunday.",
    "Red. It is warm.",
    "A colour is a colour is a colour.",
  ],
};

const SCORER = {
  version: () => "rm@200",
  score: (prompts: readonly { answers: readonly { text: string }[] }[]) =>
    Promise.resolve({
      version: "rm@200",
      scores: prompts.map(({ answers }) => answers.map(({ text }) => text.length / 20)),
    }),
};

/** What is done on each picture. */
const PICTURES: Readonly<Record<string, (page: Page) => Promise<void>>> = {
  async write(page) {
    await page.fill("#w-prompt", "Once upon a time");
    await page.keyboard.press("Control+Enter");
    await page.locator("#write .written details").waitFor();
    await page.locator("#write .token", { hasText: "found" }).hover();
  },
  async "few-shot"(page) {
    await page.keyboard.press("Alt+Digit2");
    await page.fill("#f-input", "I did not laugh once.");
    await page.keyboard.press("Control+Enter");
    await page.locator("#few-shot .bars").waitFor();
  },
  async reason(page) {
    await page.keyboard.press("Alt+Digit3");
    await page.fill("#c-question", "A farmer has 12 eggs and sells 5. How many are left?");
    await page.keyboard.press("Control+Enter");
    await page.locator("#reason .status", { hasText: /^5 paths · / }).waitFor();
  },
  async label(page) {
    await page.goto(new URL("label", page.url()).href);
    await page.locator("#answers li").nth(1).waitFor();
    await page.keyboard.press("2");
  },
};

async function take(browser: Browser, name: string, colorScheme: "light" | "dark"): Promise<void> {
  await using server = await startPageServer({ answers: ANSWERS, scorer: SCORER });
  const page = await browser.newPage({ colorScheme, viewport: { width: 1100, height: 640 } });
  await page.goto(server.url);
  await PICTURES[name]!(page);
  await page.waitForTimeout(500); // bars grow
  const path = new URL(`../../../docs/${name}-${colorScheme}.png`, import.meta.url).pathname;
  await page.screenshot({ path, fullPage: true });
  await page.close();
  console.log(`${path}: ${(await Deno.stat(path)).size} bytes`);
}

const path = chromiumPath();
if (path === undefined) {
  console.error("Cannot take pictures: Chromium on the PATH: there is none");
  Deno.exit(2);
}
const browser = await launch(path);
for (const name of Object.keys(PICTURES)) {
  for (const colorScheme of ["light", "dark"] as const) await take(browser, name, colorScheme);
}
await browser.close();
Deno.exit(0); // the browser's driver leaves timers
