/**
 * `POST /v1/reward`: what the reward model makes of responses.
 *
 * @module
 */
import { Hono } from "hono";
import type { ZodOpenApiPathsObject } from "zod-openapi";
import type { ChatMessage } from "../src/prompt/chat_template.ts";
import { turnsOfPrompt } from "../src/prompt/transcript.ts";
import { readBody, warningsOf } from "./body.ts";
import { plainMessage } from "./chat.ts";
import type { ServeDeps } from "./deps.ts";
import { ApiError, errorHandler } from "./errors.ts";
import { jsonBody, responses } from "./schemas/openapi.ts";
import {
  type RewardRequest,
  rewardRequest,
  type RewardResponse,
  rewardResponse,
} from "./schemas/reward.ts";
import { RequestScope } from "./scope.ts";
import { fingerprint } from "./text/job.ts";
import { RewardJudge } from "./text/reward.ts";

const PATH = "/v1/reward";

/** For the OpenAPI document. */
export const rewardPaths: ZodOpenApiPathsObject = {
  [PATH]: {
    post: {
      operationId: "createReward",
      summary: "Score responses with the reward model",
      tags: ["Feedback"],
      requestBody: jsonBody(rewardRequest),
      responses: responses(rewardResponse, {
        description: "A reward for each response, in their order",
        errors: [400, 404, 413, 415, 429, 500, 503, 504],
      }),
    },
  },
};

/** What the route needs. */
export type RewardRouteDeps = Pick<
  ServeDeps,
  | "runtime"
  | "tokenizers"
  | "rewardRun"
  | "store"
  | "logger"
  | "admission"
  | "deadlineMs"
  | "shutdown"
  | "newId"
  | "nowMs"
>;

interface Response {
  readonly prompt: readonly ChatMessage[];
  readonly text: string;
  readonly id?: string;
  /** Names it in errors. */
  readonly param: string;
}

/** The route. */
export function reward(deps: RewardRouteDeps): Hono {
  const app = new Hono();
  app.onError(errorHandler(deps.logger));
  app.post(PATH, async (c) => {
    const body = await readBody(c, rewardRequest);
    const warnings = warningsOf(rewardRequest, body);
    using cleanup = new DisposableStack();
    const judge = await RewardJudge.hold(deps, body.model);
    cleanup.defer(() => judge.release());
    const all = await responsesOf(deps, body);
    const dialogues = all.map((response) => encoded(judge, response));
    const tokens = dialogues.reduce((sum, { length }) => sum + length, 0);
    const created = Math.floor(deps.nowMs() / 1000);
    const scope = new RequestScope(deps, c.req.raw, { choices: dialogues.length, tokens });
    cleanup.defer(() => scope.close());
    const rewards = await judge.score(dialogues, scope.signal);
    const { model } = judge;
    const response: RewardResponse = {
      id: deps.newId("reward-"),
      object: "reward.result",
      created,
      model: body.model ?? model.run,
      version: model.id,
      system_fingerprint: fingerprint(model),
      results: rewards.map((value, index) => {
        const { id } = all[index]!;
        const own = id === undefined ? {} : { completion_id: id };
        return { index, ...own, reward: value, tokens: dialogues[index]!.length };
      }),
      usage: { prompt_tokens: tokens, total_tokens: tokens },
      ...(warnings.length > 0 ? { warnings } : {}),
    };
    return c.json(response);
  });
  return app;
}

/** @throws {ApiError} 400 naming the response that the reward model cannot read. */
function encoded(judge: RewardJudge, { prompt, text, param }: Response): Uint32Array {
  try {
    return judge.encode(prompt, text);
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    const code = cause.message.includes("tokens, as") ? "context_length_exceeded" : "invalid_value";
    throw new ApiError(400, cause.message, { param, code, cause });
  }
}

/**
 * What is to be scored. @throws {ApiError} 400 for what does not go together, 404 for unknown ids.
 */
async function responsesOf(deps: RewardRouteDeps, body: RewardRequest): Promise<Response[]> {
  const { prompt, messages, completions, completion_ids: ids } = body;
  const fault = (param: string, message: string, code = "invalid_value") =>
    new ApiError(400, message, { param, code });
  if (ids != null) {
    const other = (["prompt", "messages", "completions"] as const).find((n) => body[n] != null);
    if (other === undefined) return await keptResponses(deps, ids);
    throw fault(other, `Cannot use '${other}': want either it or 'completion_ids': got both`);
  }
  if (completions == null) {
    const want = "want 'prompt' and 'completions', or 'completion_ids'";
    throw fault("completions", `Cannot score: ${want}: both missing`, "missing_required_parameter");
  }
  if ((prompt == null) === (messages == null)) {
    const state = prompt == null ? "both are missing" : "got both";
    throw fault("prompt", `Cannot score: want either 'prompt' or 'messages': ${state}`);
  }
  const turns = prompt == null
    ? messages!.map(plainMessage)
    : [{ role: "user", content: prompt.trim() } as const];
  if (turns.at(-1)!.role !== "user") {
    throw fault("messages", "Cannot score: want the user's turn last: it is another's");
  }
  return completions.map((text, i) => ({ prompt: turns, text, param: `completions.${i}` }));
}

/**
 * Completions from the store. @throws {ApiError} 404 for an unknown one, 409 where none can be read
 */
async function keptResponses(
  { store, runtime, tokenizers }: RewardRouteDeps,
  ids: readonly string[],
): Promise<Response[]> {
  const find = store?.find?.bind(store);
  if (find === undefined) {
    const message = "Cannot use 'completion_ids': want a server that keeps completions: this one " +
      "was started with --no-store";
    throw new ApiError(400, message, { param: "completion_ids", code: "no_store" });
  }
  return await Promise.all(ids.map(async (id, i): Promise<Response> => {
    const param = `completion_ids.${i}`;
    const record = find(id);
    if (!record) {
      const message = `Cannot score '${id}': want a completion that was kept: there is none`;
      throw new ApiError(404, message, { param, code: "completion_not_found" });
    }
    const run = record.model.split("@", 1)[0];
    const model = runtime.models().find((served) => served.run === run);
    if (!model) {
      const message = `Cannot score '${id}': want the model that wrote it, '${record.model}': it ` +
        "is not served";
      throw new ApiError(409, message, { param, code: "model_not_served" });
    }
    const { tokenizer } = await tokenizers.of(model);
    return { prompt: turnsOfPrompt(tokenizer, record.promptIds), text: record.text, id, param };
  }));
}
