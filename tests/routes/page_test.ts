import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { page } from "../../routes/page.ts";

const app = page();
const paths = app.routes.map(({ path }) => path).filter((path, i, all) => all.indexOf(path) === i);

Deno.test("the pages and their files are text of their type, for this origin only", async () => {
  assert(paths.includes("/") && paths.includes("/page/main.js"));
  for (const path of paths) {
    const response = await app.request(path);
    assertEquals(response.status, 200, path);
    const text = await response.text();
    assert(text.length > 50, path);
    const type = response.headers.get("content-type")!;
    if (path.endsWith(".js")) assertMatch(type, /^text\/javascript/);
    if (path.endsWith(".css")) assertMatch(type, /^text\/css/);
    const policy = response.headers.get("content-security-policy")!;
    assertStringIncludes(policy, "default-src 'none'");
    assert(!policy.includes("unsafe"), policy);
    assertEquals(response.headers.get("x-content-type-options"), "nosniff");
    const elsewhere = text.replaceAll("http://www.w3.org/2000/svg", "").match(/https?:\/\/\S+/);
    assertEquals(elsewhere, null, path);
    if (/html/.test(type)) assert(!/\s(style|on\w+)=|<style/.test(text), `${path} has inline code`);
  }
});

Deno.test("every file that a page or a module names is served", async () => {
  for (const path of paths) {
    const text = await (await app.request(path)).text();
    const names = path.endsWith(".js")
      ? [...text.matchAll(/^(?:import|\} from).*?"(\.\/[^"]+)"/gm)].map(([, name]) => name!)
      : [...text.matchAll(/(?:src|href)="(page\/[^"]+)"/g)].map(([, name]) => name!);
    for (const name of names) {
      const { pathname } = new URL(name, `http://localhost${path}`);
      assert(paths.includes(pathname), `${path} names ${pathname}`);
    }
  }
});

Deno.test("a file that has not changed is not sent again", async () => {
  const first = await app.request("/page/style.css");
  await first.body?.cancel();
  assertEquals(first.headers.get("cache-control"), "no-cache");
  const headers = { "if-none-match": first.headers.get("etag")! };
  const again = await app.request("/page/style.css", { headers });
  assertEquals([again.status, await again.text()], [304, ""]);
});
