/**
 * `POST /v1/cot`: a question answered by reasoning, once or by the vote of several paths.
 *
 * @module
 */
import { type Context, Hono } from "hono";
import type { ZodOpenApiPathsObject } from "zod-openapi";
import type { Answer } from "../src/prompt/cot_answer.ts";
import { countVotes, isEnough } from "../src/prompt/cot_votes.ts";
import { readBody, warningsOf } from "./body.ts";
import type { ServeDeps } from "./deps.ts";
import { errorHandler } from "./errors.ts";
import {
  type CotPath,
  type CotRequest,
  cotRequest,
  type CotResult,
  cotResult,
  type CotVotes,
} from "./schemas/cot.ts";
import { jsonBody, responses } from "./schemas/openapi.ts";
import { RequestScope } from "./scope.ts";
import type { Send } from "./sse.ts";
import { CotPaths, type CotPlan, type EndedPath } from "./text/cot_paths.ts";
import {
  type CotPrompts,
  idleWarnings,
  planOf,
  type Voting,
  votingOf,
  workOf,
} from "./text/cot_plan.ts";
import { loadModel } from "./text/job.ts";
import { RewardJudge, rewardModelOf } from "./text/reward.ts";
import { Keeper, newHead, respond, type ResponseHead } from "./text/serve.ts";

/** Where it is. */
const PATH = "/v1/cot";

/** For the OpenAPI document. */
export const cotPaths: ZodOpenApiPathsObject = {
  [PATH]: {
    post: {
      operationId: "createChainOfThought",
      summary: "Answer a question by reasoning",
      description: "A stream has the events cot.reasoning.delta {path, text}, cot.path.done (one " +
        "of `paths`) and cot.votes in the order of paths, cot.done (the whole answer), then [DONE]",
      tags: ["Text"],
      requestBody: jsonBody(cotRequest),
      responses: responses(cotResult, {
        description: "The answer, the votes and the paths to it",
        isStream: true,
        errors: [400, 404, 413, 415, 429, 500, 503, 504],
      }),
    },
  },
};

/** The route. */
export function cot(deps: ServeDeps): Hono {
  const app = new Hono();
  app.onError(errorHandler(deps.logger));
  app.post(PATH, async (c) => {
    const body = await readBody(c, cotRequest);
    const warnings = [...warningsOf(cotRequest, body), ...idleWarnings(body)];
    const voting = votingOf(body);
    const judgeParam = "self_consistency.aggregate";
    if (voting.aggregate === "reward") rewardModelOf(deps, undefined, judgeParam);
    const { plan, prompts } = planOf(body, await loadModel(deps, body.model), deps);
    const judge = voting.aggregate === "reward"
      ? await RewardJudge.hold(deps, undefined, judgeParam)
      : undefined;
    let scope: RequestScope;
    try {
      scope = new RequestScope(deps, c.req.raw, workOf(plan));
    } catch (error) {
      judge?.release();
      throw error;
    }
    scope.defer(() => judge?.release());
    try {
      const paths = new CotPaths(deps, plan, scope, judge);
      const parts = { body, warnings, voting, plan, prompts, scope, paths, judge };
      return await new ChainOfThought(deps, parts).respond(c);
    } catch (error) {
      scope.close();
      throw error;
    }
  });
  return app;
}

interface Parts {
  body: CotRequest;
  warnings: readonly string[];
  voting: Voting;
  plan: CotPlan;
  prompts: CotPrompts;
  scope: RequestScope;
  paths: CotPaths;
  judge: RewardJudge | undefined;
}

/** One request's response. */
class ChainOfThought {
  readonly #deps: ServeDeps;
  readonly #parts: Parts;
  readonly #head: ResponseHead;
  readonly #keeper: Keeper;
  readonly #ended: EndedPath[] = []; // in order, without gaps
  readonly #shown: CotPath[] = [];

  constructor(deps: ServeDeps, parts: Parts) {
    const { body, plan: { reasoning } } = parts;
    this.#deps = deps;
    this.#parts = parts;
    const head = newHead(deps, reasoning, "cmpl-");
    this.#head = { ...head, id: deps.newId("cot-") };
    this.#keeper = new Keeper(deps, reasoning, {
      head,
      kind: "cot",
      served: reasoning.choices,
      isOn: body.store ?? true,
    });
  }

  respond(c: Context): Promise<Response> {
    const { body, scope } = this.#parts;
    return respond(c, this.#deps, {
      scope,
      isStream: body.stream ?? false,
      whole: () => this.#run(async () => {}),
      produce: async (send) => await send(await this.#run(send), "cot.done"),
    });
  }

  async #run(send: Send): Promise<CotResult> {
    const { paths, voting } = this.#parts;
    await paths.run({
      delta: (path, text) => send({ path, text }, "cot.reasoning.delta"),
      ended: async (path) => {
        const shown = await this.#path(path);
        this.#ended.push(path);
        this.#shown.push(shown);
        await send(shown, "cot.path.done");
        await send(this.#votes().told, "cot.votes");
        const keys = this.#ended.map(({ answer }) => answer?.key);
        return isEnough(keys, voting.stop, this.#parts.plan.reasoning.choices);
      },
    });
    return this.#result();
  }

  async #path(path: EndedPath): Promise<CotPath> {
    const { index, written, answer, source, logProbabilities, reward } = path;
    const kept = await this.#keeper.keep(written, index);
    return {
      index,
      ...kept,
      seed: this.#parts.plan.reasoning.sampling[0]!.seed!,
      reasoning: written.text,
      answer: answer?.text ?? null,
      answer_source: source,
      logprob: finite(total(logProbabilities)),
      mean_logprob: finite(mean(logProbabilities)),
      reward,
      tokens: logProbabilities.length,
      finish_reason: written.finishReason,
    };
  }

  #votes(): { told: CotVotes; winner: Answer | undefined } {
    const ballots = this.#ended.map(({ answer, logProbabilities, reward }) => ({
      key: answer?.key,
      reward: reward ?? undefined,
      logProbability: total(logProbabilities),
      meanLogProbability: mean(logProbabilities),
    }));
    const tallies = countVotes(ballots, this.#parts.voting.aggregate);
    const winner = tallies[0] && this.#ended[tallies[0].first]!.answer;
    return {
      winner,
      told: {
        answer: winner?.text ?? null,
        confidence: tallies[0]?.weight ?? 0,
        votes: tallies.map(({ first, count, weight }) => ({
          answer: this.#ended[first]!.answer!.text,
          count,
          weight,
        })),
        samples_used: this.#ended.length,
      },
    };
  }

  #result(): CotResult {
    const { body, plan, prompts, paths, warnings, judge } = this.#parts;
    const { told, winner } = this.#votes();
    const { prompt, cached, reasoning, answer } = paths.usage;
    return {
      ...this.#head,
      object: "cot.result",
      ...told,
      normalized: winner?.value ?? null,
      abstained: winner === undefined,
      early_stopped: this.#ended.length < plan.reasoning.choices,
      ...(body.return_paths ?? true ? { paths: this.#shown } : {}),
      prompts,
      usage: {
        prompt_tokens: prompt,
        completion_tokens: reasoning + answer,
        total_tokens: prompt + reasoning + answer,
        prompt_tokens_details: { cached_tokens: cached },
        completion_tokens_details: { reasoning_tokens: reasoning },
      },
      ...(judge === undefined ? {} : { reward_model: judge.model.id }),
      ...(warnings.length > 0 ? { warnings: [...warnings] } : {}),
    };
  }
}

function total(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0);
}

function mean(values: readonly number[]): number {
  return values.length === 0 ? 0 : total(values) / values.length;
}

/** JSON has no minus infinity. */
function finite(value: number): number {
  return Math.max(value, -9999);
}
