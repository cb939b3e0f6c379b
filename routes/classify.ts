/**
 * `POST /v1/classify`: what a fine-tuned model says of examples, for all four tasks.
 *
 * @module
 */
import { Hono } from "hono";
import type { ZodOpenApiPathsObject } from "zod-openapi";
import { predictionOf } from "../src/infer/task_scorer.ts";
import type { ServedHead } from "../src/runtime/runtime.ts";
import { readBody, warningsOf } from "./body.ts";
import type { ServeDeps } from "./deps.ts";
import { errorHandler } from "./errors.ts";
import {
  classifyRequest,
  type ClassifyResponse,
  classifyResponse,
  type ClassifyResult,
} from "./schemas/classify.ts";
import { jsonBody, responses } from "./schemas/openapi.ts";
import { RequestScope } from "./scope.ts";
import { fingerprint, loadModel } from "./text/job.ts";
import { encodeInputs, headOf, tokensOf, workOfExamples } from "./text/task_examples.ts";

const PATH = "/v1/classify";

/** For the OpenAPI document. */
export const classifyPaths: ZodOpenApiPathsObject = {
  [PATH]: {
    post: {
      operationId: "classify",
      summary: "Classes, scores or choices of examples, by a fine-tuned model",
      tags: ["Classes"],
      requestBody: jsonBody(classifyRequest),
      responses: responses(classifyResponse, {
        description: "A result for each example, in their order",
        errors: [400, 404, 413, 415, 429, 500, 503, 504],
      }),
    },
  },
};

/** What the route needs. */
export type ClassifyDeps = Pick<
  ServeDeps,
  | "runtime"
  | "tokenizers"
  | "logger"
  | "admission"
  | "deadlineMs"
  | "shutdown"
  | "newId"
  | "nowMs"
>;

/** The route. */
export function classify(deps: ClassifyDeps): Hono {
  const app = new Hono();
  app.onError(errorHandler(deps.logger));
  app.post(PATH, async (c) => {
    const body = await readBody(c, classifyRequest);
    const warnings = warningsOf(classifyRequest, body);
    const { model, loaded } = await loadModel(deps, body.model);
    const head = headOf({ model });
    const examples = encodeInputs(body.input, head, loaded.tokenizer);
    const created = Math.floor(deps.nowMs() / 1000);
    const scope = new RequestScope(deps, c.req.raw, workOfExamples(examples));
    try {
      const shares = await deps.runtime.classify(model.id, examples, { signal: scope.signal });
      const tokens = tokensOf(examples);
      const response: ClassifyResponse = {
        id: deps.newId("classify-"),
        object: "classify.result",
        created,
        model: model.id,
        system_fingerprint: fingerprint(model),
        task: head.task,
        results: examples.map(({ truncated }, index) => ({
          index,
          ...resultOf(shares[index]!, head),
          truncated,
        })),
        usage: { prompt_tokens: tokens, total_tokens: tokens },
        ...(warnings.length > 0 ? { warnings } : {}),
      };
      return c.json(response);
    } finally {
      scope.close();
    }
  });
  return app;
}

function resultOf(
  shares: ArrayLike<number>,
  { task, labels, scores }: ServedHead,
): Pick<ClassifyResult, "label" | "scores" | "score"> {
  return {
    label: labels[predictionOf(shares, "classification")]!,
    scores: labels.map((label, k) => ({ label, prob: shares[k]! })),
    ...(task === "similarity" && scores ? { score: predictionOf(shares, task, scores) } : {}),
  };
}
