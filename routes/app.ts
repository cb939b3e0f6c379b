/**
 * The server: all routes, and what stands before them.
 *
 * @module
 */
import { Hono } from "hono";
import { bodyLimit } from "hono/body-limit";
import { cors } from "hono/cors";
import { requestId } from "hono/request-id";
import { chat, chatPaths } from "./chat.ts";
import { classify, classifyPaths } from "./classify.ts";
import { completionPaths, completions } from "./completions.ts";
import { cot, cotPaths } from "./cot.ts";
import type { ServeDeps } from "./deps.ts";
import { docs } from "./docs.ts";
import { ApiError, errorHandler, notFoundHandler } from "./errors.ts";
import { feedback, feedbackPaths } from "./feedback.ts";
import { feedbackBatch, feedbackBatchPaths } from "./feedback_batch.ts";
import { feedbackExport, feedbackExportPaths } from "./feedback_export.ts";
import { feedbackQueue, feedbackQueuePaths } from "./feedback_queue.ts";
import { fewShot, fewShotPaths } from "./few_shot.ts";
import { modelPaths, models } from "./models.ts";
import { openapi } from "./openapi.ts";
import { type CurrentKeys, requireScope } from "./operations/auth.ts";
import { hostCheck } from "./operations/hosts.ts";
import { health, type Lifecycle } from "./operations/lifecycle.ts";
import { scopeOf } from "./operations/scopes.ts";
import { accessLog } from "./operations/log.ts";
import { metricsRoute, type ServerMetrics } from "./operations/metrics.ts";
import { page } from "./page.ts";
import { reward, rewardPaths } from "./reward.ts";
import { training, trainingPaths } from "./training.ts";
import { tokenize, tokenizePaths } from "./tokenize.ts";

/** What a server is told about its operation. */
export interface AppOptions {
  /** Settings that the routes do not know of. */
  readonly config: {
    /** Names that the Host header may have beside the local ones. */
    readonly allowHosts: readonly string[];
    /** Origins whose pages may call. */
    readonly cors: readonly string[];
    /** Largest body of a request. */
    readonly bodyBytes: number;
  };
  /** Where the server is in its life. */
  readonly lifecycle: Lifecycle;
  /** The keys; undefined where none are asked for. */
  readonly keys: CurrentKeys | undefined;
  /** The log. */
  readonly logger: ServeDeps["logger"];
  /** The time, milliseconds since 1970. */
  readonly nowMs: () => number;
}

/** The server while its models are being loaded: `/health`, and 503 for all else. */
export function createLoadingApp(options: AppOptions): Hono {
  return base(options).use(options.lifecycle.gate());
}

/** The whole server. Pages and their documents are public, all else asks for a key. */
export function createApp(deps: ServeDeps, options: AppOptions & { metrics: ServerMetrics }): Hono {
  const { lifecycle, keys, config, metrics } = options;
  const currentKeys = keys ?? (() => Promise.resolve(undefined));
  const app = base(options);
  app.route("/", docs());
  app.route(
    "/",
    openapi([
      completionPaths,
      chatPaths,
      fewShotPaths,
      cotPaths,
      modelPaths,
      tokenizePaths,
      classifyPaths,
      feedbackBatchPaths,
      feedbackQueuePaths,
      feedbackExportPaths,
      feedbackPaths,
      rewardPaths,
      trainingPaths,
    ]),
  );
  app.use(requireScope(currentKeys, scopeOf));
  app.route("/metrics", metricsRoute(metrics));
  app.use(lifecycle.gate());
  app.use(bodyLimit({ maxSize: config.bodyBytes, onError: () => tooLarge(config.bodyBytes) }));
  app.route("/", models(deps));
  app.route("/", completions(deps));
  app.route("/", chat(deps));
  app.route("/", fewShot(deps));
  app.route("/", cot(deps));
  app.route("/", classify(deps));
  app.route("/", reward(deps));
  app.route("/", training(deps));
  app.route("/", tokenize(deps));
  app.route("/", feedbackBatch(deps));
  app.route("/", feedbackQueue(deps));
  app.route("/", feedbackExport(deps));
  app.route("/", feedback(deps));
  return app;
}

/** What every request passes, whatever it asks for. */
function base({ config, lifecycle, logger, nowMs }: AppOptions): Hono {
  const app = new Hono();
  app.onError(errorHandler(logger));
  app.notFound(notFoundHandler());
  app.use(requestId({ headerName: "x-request-id" }), async (c, next) => {
    await next();
    // An error's response is made without the context, and has not the headers that were set there.
    c.res.headers.set("x-request-id", c.get("requestId"));
  });
  app.use(accessLog(logger, nowMs));
  app.use(hostCheck(config.allowHosts));
  if (config.cors.length > 0) {
    app.use(cors({
      origin: [...config.cors],
      allowHeaders: ["authorization", "content-type", "x-request-id", "idempotency-key"],
      exposeHeaders: ["x-request-id", "retry-after", "retry-after-ms"],
      maxAge: 600,
    }));
  }
  app.route("/health", health(lifecycle));
  app.route("/", page()); // also while models are being loaded, which it then says
  return app;
}

function tooLarge(bytes: number): never {
  throw new ApiError(413, `Cannot read the body: at most ${bytes} bytes: it has more`, {
    code: "request_too_large",
  });
}
