/**
 * What the runtime needs of the GPU and the disk. {@linkcode GpuBackend} has it; tests have a fake.
 *
 * @module
 */
import type { JobKind } from "./jobs.ts";
import type { TaskClassifier } from "./task_classifier.ts";
import type { TextEngine } from "./text_engine.ts";
import type { VersionParts } from "./versions.ts";

/** A version on the GPU. */
export interface LoadedModel {
  /** Writes its texts. */
  readonly engine: TextEngine;
  /** Scores examples with its head; undefined without one. */
  readonly classifier: TaskClassifier | undefined;
  /** Makes the engine anew after it threw: its requests are gone. */
  renew(): Promise<void>;
  /** Gives the engine and the weights back. */
  destroy(): void;
}

/** The GPU and what is on the disk; tests have fakes. */
export interface Backend extends VersionParts<LoadedModel> {
  /** Description of the adapter. */
  readonly adapter: string;
  /** Buffers alive on the device. */
  readonly liveBuffers: number;
  /** Kinds of jobs by name. */
  readonly jobKinds: Readonly<Record<string, JobKind>>;
  /** Ends when the device is lost, with what to say and do about it. Never, if that is never so. */
  readonly lost: Promise<Error>;
  /** Whether an error means that the device is gone for good. */
  isFatal(error: unknown): boolean;
  /** Waits for all submitted work. */
  idle(): Promise<void>;
  /** Points `current` of a run to a step. @throws {CannotError} When it has no such checkpoint */
  point(run: string, step: number): Promise<void>;
  /** Gives the device back. */
  close(): void;
}
