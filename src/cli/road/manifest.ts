/**
 * Where a road stands: one small file that says which stage ended with which run, and beside it
 * what each stage found. Both are replaced whole, so that a road can be killed at any instant.
 *
 * @module
 */
import { join } from "node:path";
import * as z from "zod";
import { CannotError, orCannot } from "../../config/cannot.ts";
import { exists, writeFileAtomic } from "../../run/atomic.ts";
import { Lock } from "../../run/lock.ts";
import type { Json } from "../../run/run_folder.ts";
import { configHash, differences, type RoadConfig, roadSchema } from "./config.ts";

/** A stage that is done. */
export interface DoneStage {
  /** The run it left, where it left one. */
  run?: string | undefined;
  /** Of that run's checkpoint. */
  step?: number | undefined;
  /** What it took, interruptions left out. */
  seconds: number;
}

interface ManifestFile {
  version: 1;
  configSha256: string;
  config: RoadConfig;
  stages: Record<string, DoneStage>;
}

const manifestSchema: z.ZodType<ManifestFile> = z.strictObject({
  version: z.literal(1),
  configSha256: z.string(),
  config: roadSchema,
  stages: z.record(
    z.string(),
    z.strictObject({
      run: z.string().optional(),
      step: z.int().min(0).optional(),
      seconds: z.number().min(0),
    }),
  ),
});

/** The file's name in the road's folder. */
export const MANIFEST = "road.json";

/** What is written down of a road; held against a second process. */
export class Manifest {
  /** Folder of the road. */
  readonly path: string;
  /** Whether the road began with this process. */
  readonly isNew: boolean;
  readonly #lock: Lock;
  readonly #content: ManifestFile;

  private constructor(path: string, lock: Lock, content: ManifestFile, isNew: boolean) {
    this.path = path;
    this.isNew = isNew;
    this.#lock = lock;
    this.#content = content;
  }

  /**
   * Begins a road, or goes on with it.
   *
   * @throws {CannotError} When it began with other settings, is being written by another process,
   * or its file is none.
   */
  static async open(path: string, name: string, config: RoadConfig): Promise<Manifest> {
    const act = `go on with road "${name}"`;
    const folder = `want a folder ${path}`;
    await orCannot(act, folder, () => Deno.mkdir(join(path, "results"), { recursive: true }));
    const lock = Lock.take(join(path, "lock"), act);
    try {
      const file = join(path, MANIFEST);
      const isNew = !await exists(file);
      const content = isNew
        ? { version: 1 as const, configSha256: configHash(config), config, stages: {} }
        : await readManifestFile(file, act);
      if (content.configSha256 !== configHash(config)) {
        const changed = differences(content.config, config);
        const some = changed.slice(0, 3).join(", ");
        const more = changed.length > 3 ? ` and ${changed.length - 3} more` : "";
        throw new CannotError(
          act,
          "want the settings it began with, or --name NAME for another road",
          changed.length > 0 ? `another ${some}${more}` : `${file} was altered`,
        );
      }
      const made = new Manifest(path, lock, content, isNew);
      if (isNew) await made.#write();
      return made;
    } catch (error) {
      lock.release();
      throw error;
    }
  }

  /** What is known of a stage, if it is done. */
  done(stage: string): DoneStage | undefined {
    return this.#content.stages[stage];
  }

  /** Says that a stage is done. */
  async finish(stage: string, done: DoneStage): Promise<void> {
    this.#content.stages[stage] = done;
    await this.#write();
  }

  /** What a stage found. @throws {CannotError} When its file is gone or no JSON. */
  async found<T extends Json>(stage: string): Promise<T> {
    const file = this.#fileOf(stage);
    const text = await orCannot(`read ${file}`, "want a file", () => Deno.readTextFile(file));
    return await orCannot(`read ${file}`, "want JSON", () => JSON.parse(text) as T);
  }

  /** Writes down what a stage found. */
  async keep(stage: string, found: Json): Promise<void> {
    await writeFileAtomic(this.#fileOf(stage), JSON.stringify(found, null, 2) + "\n");
  }

  /** Lets other processes in. */
  close(): void {
    this.#lock.release();
  }

  #fileOf(stage: string): string {
    return join(this.path, "results", `${stage}.json`);
  }

  async #write(): Promise<void> {
    const text = JSON.stringify(this.#content, null, 2) + "\n";
    await writeFileAtomic(join(this.path, MANIFEST), text);
  }
}

async function readManifestFile(file: string, act: string): Promise<ManifestFile> {
  const text = await orCannot(act, `want ${file}`, () => Deno.readTextFile(file));
  const value = await orCannot(act, `want JSON in ${file}`, () => JSON.parse(text));
  const parsed = manifestSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  const { path, message } = parsed.error.issues[0]!;
  throw new CannotError(act, `want a road in ${file}`, `${path.join(".")}: ${message}`);
}
