/**
 * The settings of `brachio serve`.
 *
 * @module
 */
import { z } from "zod";

/** What a server may be told; each has a default. */
export const serveSchema = z.strictObject({
  /** Runs to serve, the first by default; none is the newest. */
  runs: z.array(z.string().min(1)).max(16).default([]),
  /** Address to listen at. */
  host: z.string().min(1).default("127.0.0.1"),
  /** Port; 0 is any that is free. */
  port: z.int().min(0).max(65_535).default(8080),
  /** Whether API keys are asked for: by default where there are any, or the host is not local. */
  auth: z.boolean().optional(),
  /** Names that the Host header may have beside the local ones; "*" is any. */
  allowHosts: z.array(z.string().min(1)).default([]),
  /** Origins whose pages may call the server. */
  cors: z.array(z.string().min(1)).default([]),
  /** Largest body of a request. */
  bodyBytes: z.int().min(1_000).max(2 ** 30).default(2 * 2 ** 20),
  /** Texts under way and waiting; more are answered with 429. */
  queue: z.int().min(1).max(100_000).default(128),
  /** Tokens of prompts and texts under way and waiting. */
  queueTokens: z.int().min(1).default(262_144),
  /** A request that takes longer ends with 504. */
  deadlineSeconds: z.number().positive().max(86_400).default(300),
  /** Between the comments that keep a silent stream open. */
  pingSeconds: z.number().positive().max(3_600).default(15),
  /** How long requests may take to end after SIGTERM. */
  drainSeconds: z.number().min(0).max(3_600).default(30),
  /** SQLite file of served completions; by default in the folder of all runs. */
  database: z.string().min(1).optional(),
  /** Whether completions are kept at all. */
  store: z.boolean().default(true),
  /** Whether the texts of prompts are kept with them, and not only their ids. */
  storePrompts: z.boolean().default(false),
  /** Days that completions are kept. */
  storeDays: z.number().positive().default(30),
  /** Most bytes that completions may take; the oldest go first. */
  storeBytes: z.int().min(0).default(2 ** 30),
  /** Memory for keys and values, of each model. */
  cacheBytes: z.int().min(1).optional(),
  /** How keys and values are kept: f16 takes half the memory, and rounds them. */
  cache: z.enum(["f32", "f16"]).default("f32"),
  /** How weights are kept: f16 takes half the memory, and rounds them. */
  weights: z.enum(["f32", "f16"]).default("f32"),
  /** Texts that no answer may show. */
  bannedTexts: z.array(z.string().min(1)).default([]),
  /** Regular expressions that no answer may match; flags "iu". */
  bannedPatterns: z.array(z.string().min(1)).default([]),
  /** Lines of the log: for programs or for people; by default as stderr is a terminal. */
  logFormat: z.enum(["json", "text"]).optional(),
});

/** The settings, all filled in. */
export type ServeConfig = z.output<typeof serveSchema>;
