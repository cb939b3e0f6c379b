/**
 * `GET /v1/feedback/stats`, `/labelers` and `/export`: all feedback in figures, who can be trusted,
 * and the formats of others.
 *
 * @module
 */
import { Hono } from "hono";
import * as z from "zod";
import type { ZodOpenApiPathsObject } from "zod-openapi";
import { type ExportRow, EXPORTS, type PromptedRecord } from "../src/feedback/export_formats.ts";
import type { FeedbackFilter } from "../src/feedback/feedback_filter.ts";
import type { FeedbackStore } from "../src/feedback/feedback_store.ts";
import { type FeedbackStats, StatsCollector } from "../src/feedback/stats.ts";
import type { TrustedPairs } from "../src/feedback/trusted_data.ts";
import type { Logger } from "./deps.ts";
import { errorHandler } from "./errors.ts";
import { type FeedbackDeps, feedbackOf } from "./feedback.ts";
import { filterOf, readQuery } from "./feedback/view.ts";
import {
  exportQuery,
  filterQuery,
  labelersResponse,
  type StatsBody,
  statsResponse,
} from "./schemas/feedback_read.ts";
import { responses } from "./schemas/openapi.ts";

const STATS = "/v1/feedback/stats";
const LABELERS = "/v1/feedback/labelers";
const EXPORT = "/v1/feedback/export";
const ERRORS = [400, 401, 403, 404] as const;

/** For the OpenAPI document. */
export const feedbackExportPaths: ZodOpenApiPathsObject = {
  [STATS]: {
    get: {
      operationId: "feedbackStats",
      summary: "Counts, ties, agreement of labelers, position and length bias",
      description: "Of records that were not replaced. Needs the scope feedback:read",
      tags: ["Feedback"],
      requestParams: { query: filterQuery },
      responses: responses(statsResponse, { description: "The figures", errors: ERRORS }),
    },
  },
  [LABELERS]: {
    get: {
      operationId: "feedbackLabelers",
      summary: "How much each labeler counts, and who is in quarantine",
      description: "As a model says that learnt from the other labelers alone. It is found anew " +
        "when the data have changed, which can take seconds. Needs the scope feedback:read",
      tags: ["Feedback"],
      responses: responses(labelersResponse, {
        description: "All labelers",
        errors: [401, 403, 404],
      }),
    },
  },
  [EXPORT]: {
    get: {
      operationId: "exportFeedback",
      summary: "Records in the format of another tool",
      description:
        "A JSON object a line; `labelstudio` is one JSON array. Records whose prompts' " +
        "texts are not kept, and what a format cannot say, are left out. Needs the scope " +
        "feedback:read",
      tags: ["Feedback"],
      requestParams: { query: exportQuery },
      responses: {
        ...responses(z.unknown(), { description: "The records", errors: ERRORS }),
        "200": {
          description: "The records",
          content: {
            "application/jsonl": { schema: { type: "string" } },
            "application/json": { schema: { type: "array", items: { type: "object" } } },
          },
        },
      },
    },
  },
};

/** The routes. */
export function feedbackExport(deps: FeedbackDeps): Hono {
  const app = new Hono();
  app.onError(errorHandler(deps.logger));
  app.get(STATS, async (c) => {
    const parts = feedbackOf(deps);
    const filter = filterOf(readQuery(c, filterQuery), parts);
    const { datasetVersion } = parts.store;
    const collector = new StatsCollector();
    for await (const record of parts.store.records(filter)) collector.add(record);
    return c.json(statsBody(collector.result(), datasetVersion));
  });
  app.get(LABELERS, async (c) => {
    const found = await feedbackOf(deps).trusted.read();
    return c.json(labelersBody(found));
  });
  app.get(EXPORT, (c) => {
    const parts = feedbackOf(deps);
    const { format, ...query } = readQuery(c, exportQuery);
    const isArray = format === "labelstudio";
    const rows = exportRows(parts.store, filterOf(query, parts), EXPORTS[format]);
    return new Response(textStream(rows, isArray, deps.logger), {
      headers: {
        "content-type": isArray ? "application/json" : "application/jsonl",
        "content-disposition": `attachment; filename="${format}.${isArray ? "json" : "jsonl"}"`,
        "x-brachio-dataset-version": String(parts.store.datasetVersion),
      },
    });
  });
  return app;
}

async function* exportRows(
  store: FeedbackStore,
  filter: FeedbackFilter,
  format: (record: PromptedRecord) => ExportRow[],
): AsyncGenerator<ExportRow, void> {
  for await (const record of store.records(filter)) {
    if (record.prompt !== undefined) yield* format(record as PromptedRecord);
  }
}

/** Rows as bytes, as fast as they are read. */
function textStream(
  rows: AsyncGenerator<ExportRow, void>,
  isArray: boolean,
  logger: Logger,
): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  let isFirst = true;
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const { value, done } = await rows.next();
        if (done) {
          if (isArray) controller.enqueue(encoder.encode(isFirst ? "[]\n" : "\n]\n"));
          return controller.close();
        }
        const lead = !isArray ? "" : isFirst ? "[\n" : ",\n";
        isFirst = false;
        controller.enqueue(encoder.encode(lead + JSON.stringify(value) + (isArray ? "" : "\n")));
      } catch (error) {
        logger.error("export failed", {}, error);
        controller.error(new Error("The export failed")); // half a file must not look whole
      }
    },
    async cancel() {
      await rows.return();
    },
  }, { highWaterMark: 64 });
}

function labelersBody(found: TrustedPairs): z.output<typeof labelersResponse> {
  const known = (value: number) => Number.isNaN(value) ? null : value;
  return {
    object: "list",
    dataset_version: found.datasetVersion,
    guarded: found.isGuarded,
    pairs: found.items.length,
    left_out: found.leftOut,
    data: found.labelers.map((one) => ({
      labeler: one.labeler,
      pairs: one.pairs,
      agreement: known(one.agreement),
      flip_rate: known(one.flipRate),
      weight: one.weight,
      quarantined: one.isQuarantined,
      quarantined_topics: one.quarantinedTopics.length,
    })),
  };
}

function statsBody(stats: FeedbackStats, datasetVersion: number): StatsBody {
  const { meanDifference, ...length } = stats.lengthBias;
  return {
    object: "feedback.stats",
    dataset_version: datasetVersion,
    records: stats.records,
    by_type: { ...stats.byType },
    by_split: { ...stats.bySplit },
    by_model: { ...stats.byModel },
    prompts: stats.prompts,
    labelers: stats.labelers,
    pairs: stats.pairs,
    ties: stats.ties,
    both_bad: stats.bothBad,
    agreement: stats.agreement,
    position_bias: stats.positionBias,
    length_bias: { ...length, mean_difference: meanDifference },
    per_labeler: stats.perLabeler.map(({ shownFirst, ...rest }) => ({
      ...rest,
      shown_first: shownFirst,
    })),
  };
}
