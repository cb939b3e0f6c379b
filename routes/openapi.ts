/**
 * `GET /openapi.json`: the description of all routes, from the schemas that validate them.
 *
 * @module
 */
import { Hono } from "hono";
import { createDocument, type ZodOpenApiPathsObject } from "zod-openapi";

/** A description that is served as it is. */
export type OpenApiDocument = ReturnType<typeof createDocument>;

/** Of the interface; a change that breaks clients raises the first number. */
const VERSION = "1.0.0";

const KEY = { type: "http", scheme: "bearer", description: "Where the server has keys" } as const;

/** The description of the routes of all parts. @throws {RangeError} When two have one path. */
export function openApiDocument(parts: readonly ZodOpenApiPathsObject[]): OpenApiDocument {
  const paths: ZodOpenApiPathsObject = {};
  for (const [path, item] of parts.flatMap((part) => Object.entries(part))) {
    if (Object.hasOwn(paths, path)) {
      throw new RangeError(`Cannot describe ${path}: want each path once: it comes twice`);
    }
    paths[path] = item;
  }
  return createDocument({
    openapi: "3.1.0",
    info: {
      title: "Brachio",
      version: VERSION,
      description: "GPTs over OpenAI's routes. A parameter that has no effect is named in " +
        "`warnings`; with `strict` it is an error.",
      license: { name: "MIT", identifier: "MIT" },
    },
    servers: [{ url: "/" }],
    security: [{}, { key: [] }],
    components: { securitySchemes: { key: KEY } },
    paths,
  });
}

/** The route. */
export function openapi(parts: readonly ZodOpenApiPathsObject[]): Hono {
  let text: string | undefined;
  return new Hono().get("/openapi.json", (c) => {
    text ??= JSON.stringify(openApiDocument(parts));
    return c.body(text, 200, { "content-type": "application/json" });
  });
}
