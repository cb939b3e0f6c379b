/**
 * `GET /docs`: a page to read the routes' description on and to try them out. All of it comes from
 * this server; the files are those of the npm package `swagger-ui-dist`.
 *
 * @module
 */
import { Hono } from "hono";

const PAGE = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Brachio: HTTP interface</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
<div id="ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</html>
`;

const START = `SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#ui",
  deepLinking: true,
  validatorUrl: null, // would send the description to another site
});
`;

/** Scripts of this server only; the page's widgets set styles by themselves. */
const POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; " +
  "frame-ancestors 'none'";

const DAY = "public, max-age=86400";

/** The routes. */
export function docs(): Hono {
  const app = new Hono();
  app.get("/docs", (c) => c.html(PAGE, 200, { "content-security-policy": POLICY }));
  app.get("/docs/start.js", (c) => {
    return c.body(START, 200, { "content-type": "text/javascript; charset=utf-8" });
  });
  app.get("/docs/swagger-ui.css", async (c) => {
    const file = await import("swagger-ui-dist/swagger-ui.css", { with: { type: "text" } });
    const type = "text/css; charset=utf-8";
    return c.body(file.default, 200, { "content-type": type, "cache-control": DAY });
  });
  app.get("/docs/swagger-ui-bundle.js", async (c) => {
    const file = await import("swagger-ui-dist/swagger-ui-bundle.js", { with: { type: "text" } });
    const type = "text/javascript; charset=utf-8";
    return c.body(file.default as unknown as string, 200, {
      "content-type": type,
      "cache-control": DAY,
    });
  });
  return app;
}
