/**
 * The settings of `brachio serve`.
 *
 * @module
 */
import { z } from "zod";
import { DEFAULT_BOUNDS, type LabelerBounds } from "../feedback/labeler_limits.ts";

/** What a server may be told. */
export interface ServeConfig {
  /** Runs to serve, the first by default; none is the newest. */
  runs: string[];
  /** Address to listen at. */
  host: string;
  /** Port; 0 is any that is free. */
  port: number;
  /** Whether API keys are asked for: by default where there are any, or the host is not local. */
  auth?: boolean | undefined;
  /** Names that the Host header may have beside the local ones; "*" is any. */
  allowHosts: string[];
  /** Origins whose pages may call the server. */
  cors: string[];
  /** Largest body of a request. */
  bodyBytes: number;
  /** Texts under way and waiting; more are answered with 429. */
  queue: number;
  /** Tokens of prompts and texts under way and waiting. */
  queueTokens: number;
  /** A request that takes longer ends with 504. */
  deadlineSeconds: number;
  /** Between the comments that keep a silent stream open. */
  pingSeconds: number;
  /** How long requests may take to end after SIGTERM. */
  drainSeconds: number;
  /** SQLite file of served completions; by default in the folder of all runs. */
  database?: string | undefined;
  /** Whether completions are kept at all. */
  store: boolean;
  /** Whether the texts of prompts are kept with them, and not only their ids. */
  storePrompts: boolean;
  /** Days that completions are kept. */
  storeDays: number;
  /** Most bytes that completions may take; the oldest go first. */
  storeBytes: number;
  /** How much feedback each labeler may send. */
  labelers: LabelerBounds;
  /** Memory for keys and values, of each model. */
  cacheBytes?: number | undefined;
  /** How keys and values are kept: f16 takes half the memory, and rounds them. */
  cache: "f32" | "f16";
  /** How weights are kept: f16 takes half the memory, and rounds them. */
  weights: "f32" | "f16";
  /** Texts that no answer may show. */
  bannedTexts: string[];
  /** Regular expressions that no answer may match; flags "iu". */
  bannedPatterns: string[];
  /**
   * Classifies every finished text with a fine-tuned run, which is served too: one that gets a
   * listed label with this probability or more is withheld, and its choice ends with
   * "content_filter". A stream then sends each text whole, after its end.
   */
  moderation?: {
    /** The run that judges; its task is classification. */
    run: string;
    /** Labels of it that a text may not have. */
    labels: string[];
    /** From this probability of such a label on a text is withheld. */
    threshold: number;
  } | undefined;
  /**
   * The run whose reward model judges where a request names none: `/v1/reward`, `best_of` and votes
   * by reward. It is served too.
   */
  reward?: string | undefined;
  /**
   * Models learn from feedback while they are served, where there is a reward model and feedback is
   * kept: when a request asks for it, or by itself.
   */
  training: {
    /**
     * New pairs after which the reward model is trained by itself; 0: only when it is asked for.
     */
    after: number;
    /** Held-out pairs that are needed to let a new reward model take over. */
    least: number;
    /** New reward models that did not take over and stay for a look: so many of the last ones. */
    keepRejected: number;
    /** Run of the policy; by default the first that is served. */
    policy?: string | undefined;
    /** Settings of `train reward`, over `epochs: 3`. */
    reward: Record<string, unknown>;
    /** Settings of `train sft` on corrections. */
    sft: Record<string, unknown>;
    /** Settings of `train ppo`. */
    ppo: Record<string, unknown>;
  };
  /** Part of the GPU's time that training gets while texts are written. */
  jobShare: number;
  /** Lines of the log: for programs or for people; by default as stderr is a terminal. */
  logFormat?: "json" | "text" | undefined;
}

/**
 * Checks settings, and fills in the defaults.
 *
 * @ignore its type is zod's
 */
export const serveSchema: z.ZodType<ServeConfig> = z.strictObject({
  runs: z.array(z.string().min(1)).max(16).default([]),
  host: z.string().min(1).default("127.0.0.1"),
  port: z.int().min(0).max(65_535).default(8080),
  auth: z.boolean().optional(),
  allowHosts: z.array(z.string().min(1)).default([]),
  cors: z.array(z.string().min(1)).default([]),
  bodyBytes: z.int().min(1_000).max(2 ** 30).default(2 * 2 ** 20),
  queue: z.int().min(1).max(100_000).default(128),
  queueTokens: z.int().min(1).default(262_144),
  deadlineSeconds: z.number().positive().max(86_400).default(300),
  pingSeconds: z.number().positive().max(3_600).default(15),
  drainSeconds: z.number().min(0).max(3_600).default(30),
  database: z.string().min(1).optional(),
  store: z.boolean().default(true),
  storePrompts: z.boolean().default(false),
  storeDays: z.number().positive().default(30),
  storeBytes: z.int().min(0).default(2 ** 30),
  labelers: z.strictObject({
    ratePerSecond: z.number().positive().default(DEFAULT_BOUNDS.ratePerSecond),
    burst: z.int().min(1).default(DEFAULT_BOUNDS.burst),
    perDay: z.int().min(1).default(DEFAULT_BOUNDS.perDay),
  }).prefault({}),
  cacheBytes: z.int().min(1).optional(),
  cache: z.enum(["f32", "f16"]).default("f32"),
  weights: z.enum(["f32", "f16"]).default("f32"),
  bannedTexts: z.array(z.string().min(1)).default([]),
  bannedPatterns: z.array(z.string().min(1)).default([]),
  moderation: z.strictObject({
    run: z.string().min(1),
    labels: z.array(z.string().min(1)).min(1),
    threshold: z.number().gt(0).max(1).default(0.5),
  }).optional(),
  reward: z.string().min(1).optional(),
  training: z.strictObject({
    after: z.int().min(0).default(0),
    least: z.int().min(1).default(50),
    keepRejected: z.int().min(1).default(3),
    policy: z.string().min(1).optional(),
    reward: z.record(z.string(), z.unknown()).default({}),
    sft: z.record(z.string(), z.unknown()).default({}),
    ppo: z.record(z.string(), z.unknown()).default({}),
  }).prefault({}),
  jobShare: z.number().min(0).max(1).default(0.3),
  logFormat: z.enum(["json", "text"]).optional(),
});
