/**
 * `GET /v1/models` and `GET /v1/models/{id}`: what a request may name.
 *
 * @module
 */
import { Hono } from "hono";
import * as z from "zod";
import type { ZodOpenApiPathsObject } from "zod-openapi";
import type { ServedModel } from "../src/runtime/runtime.ts";
import type { ServeDeps } from "./deps.ts";
import { errorHandler } from "./errors.ts";
import { type Model, modelList, modelSchema } from "./schemas/models.ts";
import { responses } from "./schemas/openapi.ts";
import { findModel, fingerprint } from "./text/job.ts";

/** For the OpenAPI document. */
export const modelPaths: ZodOpenApiPathsObject = {
  "/v1/models": {
    get: {
      operationId: "listModels",
      summary: "All models, the default first",
      tags: ["Models"],
      responses: responses(modelList, { description: "The models" }),
    },
  },
  "/v1/models/{id}": {
    get: {
      operationId: "retrieveModel",
      summary: "One model",
      tags: ["Models"],
      requestParams: { path: z.object({ id: z.string() }) },
      responses: responses(modelSchema, { description: "The model", errors: [404, 503] }),
    },
  },
};

/** The routes. */
export function models(deps: Pick<ServeDeps, "runtime" | "logger">): Hono {
  const app = new Hono();
  app.onError(errorHandler(deps.logger));
  app.get("/v1/models", (c) => {
    return c.json({ object: "list", data: deps.runtime.models().map(describe) });
  });
  app.get("/v1/models/:id", (c) => {
    return c.json(describe(findModel(deps.runtime.models(), c.req.param("id"))));
  });
  return app;
}

function describe(model: ServedModel): Model {
  return {
    id: model.id,
    object: "model",
    created: model.created,
    owned_by: "brachio",
    max_model_len: model.contextLength,
    system_fingerprint: fingerprint(model),
    meta: {
      n_vocab: model.vocabSize,
      n_ctx_train: model.contextLength,
      n_embd: model.channels,
      n_params: model.parameters,
      size: model.weightBytes,
      step: model.step,
      weights_hash: model.weightsHash,
      ...(model.head ? { task: model.head.task, labels: [...model.head.labels] } : {}),
    },
  };
}
