/**
 * Real Chromium for tests of the pages.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import type { Browser, BrowserContextOptions, Page } from "playwright-core";
import {
  type PageServer,
  type PageServerOptions,
  startPageServer,
} from "../../support/page_server.ts";
import { hasSystem, readEnv } from "../../support/system.ts";

/** A page of a server, in a browser. */
export interface PageTest {
  /** The page. */
  readonly page: Page;
  /** Its server. */
  readonly server: PageServer;
}

/** What a test may choose. */
export interface PageTestOptions {
  /** Of the server. */
  readonly server?: PageServerOptions;
  /** Of the browser. */
  readonly browser?: BrowserContextOptions;
  /** Where to begin. @default "/" */
  readonly path?: string;
  /** Status of requests that are to fail, which the console tells of; one must. @default none */
  readonly expects?: number;
}

/** Chromium's path; undefined where there is none or it may not be run. */
export function chromiumPath(): string | undefined {
  if (!hasSystem()) return undefined;
  if (Deno.permissions.querySync({ name: "run", command: "chromium" }).state !== "granted") {
    return undefined;
  }
  const folders = (Deno.env.get("PATH") ?? "").split(":");
  return folders.map((folder) => `${folder}/chromium`).find((path) => {
    try {
      return Deno.statSync(path).isFile;
    } catch {
      return false;
    }
  });
}

/**
 * Registers a test of the pages over a scripted server. Whatever it does, it fails when the page
 * asks another site for something or reports an error.
 */
export function browserTest(
  name: string,
  test: (parts: PageTest) => Promise<void>,
  options: PageTestOptions = {},
): void {
  chromiumTest(name, (browser) => inPage(browser, test, options));
}

/**
 * Registers a test in Chromium, where `brachio test --slow` asks for it. Without Chromium on the
 * PATH it counts as ignored.
 */
export function chromiumTest(name: string, test: (browser: Browser) => Promise<void>): void {
  if (readEnv("BRACHIO_SLOW") !== "1") return;
  const path = chromiumPath();
  Deno.test({
    name: path === undefined ? `${name} (no Chromium here)` : name,
    ignore: path === undefined,
    // Its driver keeps pipes and timers of its own until the process ends.
    sanitizeOps: false,
    sanitizeResources: false,
    fn: async () => {
      const browser = await launch(path!);
      try {
        await test(browser);
      } finally {
        await browser.close();
      }
    },
  });
}

/** Starts it. */
export async function launch(executablePath: string): Promise<Browser> {
  // A part of playwright looks for WSL in /proc when it is loaded, which Deno grants to nobody with
  // named permissions; this is that part's own switch for not looking.
  Deno.env.set("__IS_WSL_TEST__", "1");
  const { chromium } = await import("playwright-core");
  // Root, as in most containers, has no sandbox; the pages are our own.
  return await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu"] });
}

async function inPage(
  browser: Browser,
  test: (parts: PageTest) => Promise<void>,
  { server: serverOptions = {}, browser: contextOptions = {}, path = "/", expects }:
    PageTestOptions,
): Promise<void> {
  await using server = await startPageServer(serverOptions);
  const context = await browser.newContext(contextOptions);
  context.setDefaultTimeout(30_000);
  const errors: string[] = [];
  const elsewhere: string[] = [];
  context.on("request", (request) => {
    const url = request.url();
    if (!url.startsWith(`${server.url}/`) && !url.startsWith("data:")) elsewhere.push(url);
  });
  const page = await context.newPage();
  page.on("pageerror", (error) => void errors.push(String(error)));
  page.on("console", (message) => {
    if (message.type() === "error") errors.push(message.text());
  });
  await page.goto(`${server.url}${path}`);
  try {
    await test({ page, server });
    assertEquals(elsewhere, [], "requests of other sites");
    const isExpected = (text: string) => text.includes(`with a status of ${expects} `);
    assertEquals(errors.filter((text) => !isExpected(text)), [], "errors in the console");
    assertEquals(errors.some(isExpected), expects !== undefined, `requests with status ${expects}`);
  } finally {
    await context.close();
  }
}

/** What axe-core finds wrong with a page, a line each. */
export async function axeFaults(page: Page): Promise<string[]> {
  const { default: axe } = await import("axe-core");
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate(async () => {
    const { axe } = globalThis as unknown as { axe: typeof import("axe-core") };
    return await axe.run(document, { resultTypes: ["violations"] });
  });
  return violations.map(({ id, help, nodes }) => {
    const places = nodes.map(({ html, failureSummary }) => `${html} (${failureSummary})`);
    return `${id}: ${help}: ${places.join("; ")}`;
  });
}
