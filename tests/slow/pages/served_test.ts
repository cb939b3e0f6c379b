/** The page over a real model, in Chromium: the server's own process, its own permissions. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { withFolder } from "../../support/files.ts";
import { makeRun } from "../../support/served_runs.ts";
import { startServer } from "../../support/server.ts";
import { chromiumTest } from "./browser.ts";

chromiumTest("the page writes and labels with a real model behind it", async (browser) => {
  await withFolder(async (root) => {
    (await makeRun(root, "tiny", { 1: 7 })).close();
    const server = await startServer(root, ["--store-prompts"]);
    try {
      const page = await browser.newPage();
      await page.goto(server.url);
      await page.fill("#w-prompt", "Once");
      await page.fill("#w-max", "20");
      await page.fill("#w-seed", "7");
      await page.keyboard.press("Control+Enter");
      await page.locator("#write .written details").waitFor();
      assertEquals(await page.locator("#write .written .token[data-index]").count(), 20);
      assertMatch(await page.innerText("#write .status"), /^20 tokens in /);

      await page.goto(`${server.url}/label`);
      await page.locator("#empty").waitFor();
      await page.click("#ask summary");
      await page.fill("#new-prompt", "Once more");
      await page.fill("#new-n", "2");
      await page.fill("#new-tokens", "12");
      await page.click("#ask button[type=submit]");
      await page.locator("#answers li").nth(1).waitFor();
      await page.keyboard.press("1");
      await page.keyboard.press("Enter");
      await page.locator("#empty").waitFor();
      const { data } = await (await fetch(`${server.url}/v1/feedback`)).json();
      assertEquals([data.length, data[0].prompt, data[0].type], [1, "Once more", "comparison"]);
      assert(!server.log.some((line) => line.includes('"level":"ERROR"')), server.log.join("\n"));
    } finally {
      assertEquals(await server.stop(), 0);
    }
  });
});
