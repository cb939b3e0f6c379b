/**
 * `GET /` and `GET /label`: the pages for people. All of them come from this server as they lie in
 * `page/`: plain modules, which a browser reads without a build.
 *
 * @module
 */
import { Hono } from "hono";
import { etag } from "hono/etag";
import api from "./page/api.js" with { type: "text" };
import bars from "./page/bars.js" with { type: "text" };
import dom from "./page/dom.js" with { type: "text" };
import faults from "./page/faults.js" with { type: "text" };
import fewShot from "./page/few_shot.js" with { type: "text" };
import icon from "./page/icon.svg" with { type: "text" };
import index from "./page/index.html" with { type: "text" };
import label from "./page/label.html" with { type: "text" };
import labelScript from "./page/label.js" with { type: "text" };
import labelView from "./page/label_view.js" with { type: "text" };
import main from "./page/main.js" with { type: "text" };
import models from "./page/models.js" with { type: "text" };
import ranking from "./page/ranking.js" with { type: "text" };
import reason from "./page/reason.js" with { type: "text" };
import rows from "./page/rows.js" with { type: "text" };
import runForm from "./page/run_form.js" with { type: "text" };
import scores from "./page/scores.js" with { type: "text" };
import session from "./page/session.js" with { type: "text" };
import shell from "./page/shell.js" with { type: "text" };
import sse from "./page/sse.js" with { type: "text" };
import style from "./page/style.css" with { type: "text" };
import tabs from "./page/tabs.js" with { type: "text" };
import tokenView from "./page/token_view.js" with { type: "text" };
import tokens from "./page/tokens.js" with { type: "text" };
import values from "./page/values.js" with { type: "text" };
import write from "./page/write.js" with { type: "text" };

/** Types of the files, by the end of their name. */
const TYPES: Readonly<Record<string, string>> = {
  css: "text/css; charset=utf-8",
  html: "text/html; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  svg: "image/svg+xml",
};

/** By path. Of a module, the type checker sees what it exports and not that it is text here. */
const FILES: Readonly<Record<string, unknown>> = {
  "/": index,
  "/label": label,
  "/page/api.js": api,
  "/page/bars.js": bars,
  "/page/dom.js": dom,
  "/page/faults.js": faults,
  "/page/few_shot.js": fewShot,
  "/page/icon.svg": icon,
  "/page/label.js": labelScript,
  "/page/label_view.js": labelView,
  "/page/main.js": main,
  "/page/models.js": models,
  "/page/ranking.js": ranking,
  "/page/reason.js": reason,
  "/page/rows.js": rows,
  "/page/run_form.js": runForm,
  "/page/scores.js": scores,
  "/page/session.js": session,
  "/page/shell.js": shell,
  "/page/sse.js": sse,
  "/page/style.css": style,
  "/page/tabs.js": tabs,
  "/page/token_view.js": tokenView,
  "/page/tokens.js": tokens,
  "/page/values.js": values,
  "/page/write.js": write,
};

/**
 * Only what this server sends: no other site, no inline script or style, in no other page's frame.
 */
const POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; " +
  "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " +
  "require-trusted-types-for 'script'";

/** The routes. */
export function page(): Hono {
  const app = new Hono();
  for (const [path, content] of Object.entries(FILES)) {
    const type = TYPES[path.includes(".") ? path.split(".").at(-1)! : "html"]!;
    app.get(path, etag(), (c) =>
      c.body(content as string, 200, {
        "content-type": type,
        // A browser asks again, and gets 304 until another version of the server runs.
        "cache-control": "no-cache",
        "content-security-policy": POLICY,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
      }));
  }
  return app;
}
