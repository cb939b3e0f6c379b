/**
 * The server's routes without a server: an evaluation asks the same code as a client over HTTP, and
 * so has the same numbers.
 *
 * @module
 */
import type { Hono } from "hono";
import { cot } from "../../routes/cot.ts";
import { CheckpointTokenizers, type ServeDeps } from "../../routes/deps.ts";
import { fewShot } from "../../routes/few_shot.ts";
import type { CotRequest, CotResult } from "../../routes/schemas/cot.ts";
import type { FewShotRequest, FewShotResponse } from "../../routes/schemas/few_shot.ts";
import { type LoadedModel, loadModel } from "../../routes/text/job.ts";
import { type ScoredText, scoreTexts } from "../../routes/text/score.ts";
import { CannotError } from "../config/cannot.ts";
import { ContentGuard } from "../infer/guard.ts";
import type { ScoredToken } from "../infer/request.ts";
import type { LabelTokens } from "../prompt/few_shot_labels.ts";
import type { Runtime } from "../runtime/runtime.ts";

/** A timer's largest delay: nobody waits for an evaluation. */
const NO_DEADLINE_MS = 2 ** 31 - 1;

/** The routes of one model. */
export class LocalRoutes {
  readonly #deps: ServeDeps;
  readonly #model: LoadedModel;
  readonly #fewShot: Hono;
  readonly #cot: Hono;
  #failure: unknown;

  private constructor(deps: (fail: (error: unknown) => void) => ServeDeps, model: LoadedModel) {
    this.#deps = deps((error) => this.#failure ??= error);
    this.#model = model;
    this.#fewShot = fewShot(this.#deps);
    this.#cot = cot(this.#deps);
  }

  /** Of a model of the runtime; without a name of its first. @throws {CannotError} Without it */
  static async open(runtime: Runtime, model?: string): Promise<LocalRoutes> {
    const known = runtime.models().map(({ id }) => id);
    if (model !== undefined && !known.includes(model)) {
      const want = `want one of ${known.join(", ")}`;
      throw new CannotError(`evaluate the model "${model}"`, want, "there is no such model");
    }
    const tokenizers = new CheckpointTokenizers();
    let loaded: LoadedModel;
    try {
      loaded = await loadModel({ runtime, tokenizers }, model);
    } catch (error) {
      throw (error as Error).cause ?? error; // it says which file
    }
    return new LocalRoutes((fail) => ({
      runtime,
      tokenizers,
      store: undefined,
      storePrompts: false,
      guard: new ContentGuard(),
      admission: { admit: () => () => {} },
      meter: { begin: () => ({ start: () => {}, token: () => {}, end: () => {} }) },
      logger: {
        info: () => {},
        warn: () => {},
        error: (_event, _fields, error) => fail(error),
      },
      nowMs: Date.now,
      newId: (prefix) => prefix,
      newSeed: () => 0, // everything that is drawn has a seed here
      deadlineMs: NO_DEADLINE_MS,
      pingMs: NO_DEADLINE_MS,
      shutdown: new AbortController().signal,
    }), loaded);
  }

  /** The model and its tokenizer. */
  get model(): LoadedModel {
    return this.#model;
  }

  /** `POST /v1/few-shot`. @throws {CannotError} As the route refuses. */
  async fewShot(body: FewShotRequest): Promise<FewShotResponse> {
    return await this.#post(this.#fewShot, "/v1/few-shot", body) as FewShotResponse;
  }

  /** `POST /v1/cot`. @throws {CannotError} As the route refuses. */
  async cot(body: CotRequest): Promise<CotResult> {
    return await this.#post(this.#cot, "/v1/cot", body) as CotResult;
  }

  /** Log-probabilities of texts. Those that begin alike should follow each other. */
  async score(texts: readonly LabelTokens[]): Promise<ScoredText[]> {
    const scope = new AbortController();
    return await scoreTexts(this.#deps, texts, { model: this.#model.model, scope });
  }

  /** The likeliest next tokens after ids, likeliest first. */
  async next(ids: readonly number[], top: number): Promise<ScoredToken["top"]> {
    const stream = this.#deps.runtime.generate(this.#model.model.id, {
      prompt: ids,
      maxTokens: 1,
      sampling: { temperature: 0 },
      top,
    });
    let found: ScoredToken["top"] = [];
    for await (const event of stream) if (event.kind === "token") found = event.top;
    return found;
  }

  async #post(app: Hono, path: string, body: object): Promise<unknown> {
    const response = await app.request(path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ ...body, model: this.#model.model.id, strict: true }),
    });
    const answer = await response.json();
    if (response.ok) return answer;
    if (response.status >= 500) throw this.#failure ?? new Error(answer.error.message);
    const { message, param } = answer.error;
    throw new RefusedError(path, param ?? "the request", message);
  }
}

/** A route refused an item, as it would refuse a client. */
export class RefusedError extends CannotError {
  /** What the route said. */
  constructor(path: string, param: string, message: string) {
    super(`ask ${path}`, `want another "${param}"`, message);
    this.message = message;
  }
}
