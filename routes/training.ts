/**
 * `/v1/training`: models learn from feedback while they are served; `GET /v1/audit`: what became of
 * it, and every other change of what is served.
 *
 * @module
 */
import { type Context, Hono } from "hono";
import * as z from "zod";
import type { ZodOpenApiPathsObject } from "zod-openapi";
import { CannotError } from "../src/config/cannot.ts";
import type { Snapshot } from "../src/feedback/snapshot.ts";
import type { TrainingRound } from "../src/runtime/feedback_loop.ts";
import { readBody, warningsOf } from "./body.ts";
import type { ServeDeps } from "./deps.ts";
import { ApiError, errorHandler } from "./errors.ts";
import { jsonBody, responses } from "./schemas/openapi.ts";
import {
  auditList,
  auditQuery,
  type TrainingBody,
  trainingRequest,
  trainingRound,
  trainingState,
} from "./schemas/training.ts";

const PATH = "/v1/training";
const AUDIT = "/v1/audit";
const DEFAULT_ENTRIES = 100;

/** For the OpenAPI document. */
export const trainingPaths: ZodOpenApiPathsObject = {
  [PATH]: {
    post: {
      operationId: "createTraining",
      summary: "Train on feedback now",
      description: "The answer comes at once; GET tells how it goes. Needs the scope admin",
      tags: ["Feedback"],
      requestBody: jsonBody(trainingRequest),
      responses: responses(trainingRound, {
        description: "The training that has begun",
        errors: [400, 401, 403, 404, 409],
      }),
    },
    get: {
      operationId: "getTraining",
      summary: "How training on feedback goes",
      tags: ["Feedback"],
      responses: responses(trainingState, { description: "All of it", errors: [401, 403, 404] }),
    },
  },
  [`${PATH}/{id}`]: {
    get: {
      operationId: "retrieveTraining",
      summary: "One training",
      tags: ["Feedback"],
      requestParams: { path: z.object({ id: z.string() }) },
      responses: responses(trainingRound, { description: "It", errors: [401, 403, 404] }),
    },
  },
  [AUDIT]: {
    get: {
      operationId: "listAudit",
      summary: "Every change of what is served",
      description:
        "version.served, version.removed, training.started and training.ended. Needs the scope admin",
      tags: ["Models"],
      requestParams: { query: auditQuery },
      responses: responses(auditList, { description: "Them", errors: [400, 401, 403] }),
    },
  },
};

/** The routes. */
export function training(deps: Pick<ServeDeps, "training" | "audit" | "logger">): Hono {
  const app = new Hono();
  app.onError(errorHandler(deps.logger));
  app.post(PATH, async (c) => {
    const body = await readBody(c, trainingRequest);
    warningsOf(trainingRequest, body);
    const loop = loopOf(deps);
    try {
      const round = loop.begin(body.stage ?? "reward", keyIdOf(c), body.settings ?? {});
      return c.json(bodyOf(round));
    } catch (cause) {
      if (!(cause instanceof CannotError)) throw cause;
      throw new ApiError(409, cause.message, { code: "training_is_running", cause });
    }
  });
  app.get(PATH, (c) => {
    const { newPairs, after, rounds } = loopOf(deps).state();
    const data = rounds.map(bodyOf);
    return c.json({ object: "training.state", new_pairs: newPairs, after, data });
  });
  app.get(`${PATH}/:id`, (c) => {
    const id = c.req.param("id");
    const round = loopOf(deps).state().rounds.find((known) => String(known.id) === id);
    if (round) return c.json(bodyOf(round));
    const message = `Cannot find training ${id}: want one since the server was started`;
    throw new ApiError(404, message, { code: "training_not_found" });
  });
  app.get(AUDIT, async (c) => {
    const parsed = auditQuery.safeParse(c.req.query());
    if (!parsed.success) {
      const message = "Cannot use 'limit': want a number from 1 to 1000";
      throw new ApiError(400, message, { param: "limit", code: "invalid_value" });
    }
    const data = await deps.audit?.list(parsed.data.limit ?? DEFAULT_ENTRIES) ?? [];
    return c.json({ object: "list", data });
  });
  return app;
}

/** Who asks, for the audit list. */
export function keyIdOf(c: Context): string {
  return c.get("apiKey")?.id ?? "request";
}

function loopOf({ training }: Pick<ServeDeps, "training">): NonNullable<ServeDeps["training"]> {
  if (training) return training;
  const message =
    "Cannot train on feedback: want a server with a reward model that keeps feedback: " +
    "start it with --reward RUN and without --no-store";
  throw new ApiError(404, message, { code: "no_training" });
}

function bodyOf(round: TrainingRound): TrainingBody {
  const { id, stage, run, by, started, state, data, progress, judged, step, swapped, error } =
    round;
  return {
    id,
    object: "training",
    stage,
    run,
    by,
    started,
    state,
    data: data === undefined ? null : dataOf(data),
    progress: progress ?? null,
    judged: (judged ?? null) as TrainingBody["judged"],
    step: step ?? null,
    swapped: swapped ?? null,
    error: error ?? null,
  };
}

function dataOf(data: Snapshot): TrainingBody["data"] {
  const part = (file: Snapshot["train"]) =>
    file === undefined ? null : { rows: file.rows, pairs: file.pairs };
  return {
    dataset_version: data.datasetVersion,
    train: part(data.train),
    held_out: part(data.valid),
    without_prompt: data.withoutPrompt,
    distrusted: data.distrusted,
  };
}
