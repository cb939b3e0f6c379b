/**
 * `GET /v1/feedback/next`: what is to be labelled, where a judgement tells most.
 *
 * @module
 */
import { Hono } from "hono";
import type { ZodOpenApiPathsObject } from "zod-openapi";
import { errorHandler } from "./errors.ts";
import { type FeedbackDeps, feedbackOf } from "./feedback.ts";
import { labelerName } from "./feedback/resolve.ts";
import { readQuery } from "./feedback/view.ts";
import { apiKeyIdOf } from "./operations/auth.ts";
import { type NextBody, nextQuery, nextResponse } from "./schemas/feedback_queue.ts";
import { responses } from "./schemas/openapi.ts";

const PATH = "/v1/feedback/next";

/** For the OpenAPI document. */
export const feedbackQueuePaths: ZodOpenApiPathsObject = {
  [PATH]: {
    get: {
      operationId: "nextFeedback",
      summary: "Answers to label next, side by side: where the reward model is least sure",
      description: "Needs completions with the texts of their prompts (--store-prompts), two or " +
        "more of a prompt. A task is kept for its labeler for two minutes. Needs the scope " +
        "feedback:write.",
      tags: ["Feedback"],
      requestParams: { query: nextQuery },
      responses: responses(nextResponse, { description: "Tasks", errors: [400, 401, 403, 404] }),
    },
  },
};

/** The route. */
export function feedbackQueue(deps: FeedbackDeps): Hono {
  const app = new Hono();
  app.onError(errorHandler(deps.logger));
  app.get(PATH, async (c) => {
    const { queue, labelers } = feedbackOf(deps);
    const query = readQuery(c, nextQuery);
    const { tasks, scorer, waiting } = await queue.next({
      labeler: labelers.labeler(labelerName(query.labeler, apiKeyIdOf(c))),
      candidates: query.candidates ?? 2,
      limit: query.limit ?? 1,
    });
    const body: NextBody = {
      object: "feedback.queue",
      data: tasks.map((task) => ({
        object: "feedback.task",
        prompt: task.prompt,
        candidates: task.candidates.map(({ completionId, text }) => ({
          completion_id: completionId,
          text,
        })),
        presented_order: [...task.presentedOrder],
        uncertainty: task.uncertainty ?? null,
        judgements: task.judgements,
      })),
      chosen_by: scorer === undefined ? "fewest_judgements" : "reward_model",
      reward_model: scorer ?? null,
      waiting,
    };
    return c.json(body);
  });
  return app;
}
