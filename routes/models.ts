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
import { readBody } from "./body.ts";
import { ApiError, errorHandler } from "./errors.ts";
import { type Model, modelList, modelSchema, serveVersion } from "./schemas/models.ts";
import { jsonBody, responses } from "./schemas/openapi.ts";
import { findModel, fingerprint } from "./text/job.ts";
import { keyIdOf } from "./training.ts";

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
  "/v1/models/{run}/current": {
    put: {
      operationId: "serveVersion",
      summary: "Serve another version of a run: a newer one, or an older one again",
      description: "Requests under way end on the version that they began with. Needs the scope " +
        "admin",
      tags: ["Models"],
      requestParams: { path: z.object({ run: z.string() }) },
      requestBody: jsonBody(serveVersion),
      responses: responses(modelSchema, {
        description: "The version that the run's name means now",
        errors: [400, 403, 404, 500, 503],
      }),
    },
  },
};

/** The routes. */
export function models(deps: Pick<ServeDeps, "runtime" | "logger" | "audit">): Hono {
  const app = new Hono();
  app.onError(errorHandler(deps.logger));
  app.get("/v1/models", (c) => {
    return c.json({ object: "list", data: deps.runtime.models().map(describe) });
  });
  app.get("/v1/models/:id", (c) => {
    return c.json(describe(findModel(deps.runtime.models(), c.req.param("id"))));
  });
  app.put("/v1/models/:run/current", async (c) => {
    const { step } = await readBody(c, serveVersion);
    const run = c.req.param("run");
    const own = deps.runtime.models().filter((model) => model.run === run);
    if (own.length === 0) findModel(deps.runtime.models(), run); // it says which there are
    if (step != null && !own.some((model) => model.step === step)) {
      const steps = [...new Set(own.map((model) => model.step))].sort((a, b) => a - b);
      const message = `Cannot serve '${run}@${step}': want one of ${steps.join(", ")}: there is ` +
        "no such version";
      throw new ApiError(404, message, { param: "step", code: "model_not_found" });
    }
    const before = own.find(({ id }) => id === run);
    const model = await deps.runtime.swap(run, step ?? undefined);
    deps.audit?.append({
      event: "version.served",
      run,
      by: keyIdOf(c),
      detail: { from: before?.step, to: model.step, weights: model.weightsHash },
    });
    deps.logger.info("swapped", { id: model.id, step: model.step, weights: model.weightsHash });
    return c.json(describe(model));
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
      ...(model.reward ? { task: "reward", reward_bias: model.reward.bias } : {}),
    },
  };
}
