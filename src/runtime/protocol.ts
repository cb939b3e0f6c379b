/**
 * What the GPU's thread and the others say to each other: plain data, as it crosses threads.
 *
 * @module
 */
import { CannotError } from "../config/cannot.ts";
import { NoAdapterError } from "../gpu/adapter.ts";
import { DeviceLostError, type OpenOptions } from "../gpu/device.ts";
import type { StorageType } from "../gpu/storage.ts";
import type { EngineOptions } from "../infer/engine.ts";
import type { TextEvent, TextRequest } from "../infer/request.ts";
import type { CoreOptions } from "./core.ts";
import type { JobEvent, JobInfo } from "./jobs.ts";
import type { RuntimeStatus, ServedModel } from "./runtime.ts";
import type { ExampleTokens } from "./task_classifier.ts";

/** How a runtime serves; crosses to the Worker as it is. */
export interface RuntimeOptions extends CoreOptions {
  /** Folder of all runs. */
  readonly root: string;
  /** Which device. @default {} */
  readonly device?: Pick<OpenOptions, "subgroups" | "f16" | "fast" | "limits" | "powerPreference">;
  /** Of every engine. @default {} */
  readonly engine?: Omit<EngineOptions, "pool">;
  /** How the weights of every version are kept. @default "f32" */
  readonly weightDtype?: StorageType;
  /** Whether every kernel is compiled before a version serves. @default false */
  readonly warmUp?: boolean;
  /** Weights and caches of all versions stay within it. @default what the machine has free */
  readonly memoryBytes?: number | undefined;
}

/** An error as it crosses. */
export interface Fault {
  /** Which class it comes back as. */
  readonly kind: "range" | "cannot" | "lost" | "adapter" | "other";
  /** All that users are told. */
  readonly message: string;
}

/** To the GPU's thread. */
export type ToRuntime<Options> =
  | { readonly kind: "open"; readonly options: Options }
  | {
    readonly kind: "submit";
    readonly request: number;
    readonly model: string;
    readonly text: TextRequest;
  }
  /** All choices without `choice`. */
  | { readonly kind: "cancel"; readonly request: number; readonly choice?: number | undefined }
  | {
    readonly kind: "classify";
    readonly call: number;
    readonly model: string;
    readonly examples: readonly ExampleTokens[];
    /** The call that holds the version; without it the model's current one. */
    readonly hold?: number | undefined;
  }
  /** Keeps a version until it is let go; the answer is its model. */
  | { readonly kind: "hold"; readonly call: number; readonly model: string }
  | { readonly kind: "let go"; readonly hold: number }
  /** Nobody waits for the answer any more. */
  | { readonly kind: "drop"; readonly call: number }
  | {
    readonly kind: "swap";
    readonly call: number;
    readonly run: string;
    readonly step?: number | undefined;
  }
  | {
    readonly kind: "start job";
    readonly call: number;
    readonly job: string;
    readonly parameters: unknown;
  }
  | { readonly kind: "cancel job"; readonly call: number; readonly job: number }
  | { readonly kind: "close" };

/** What happened in a turn. */
export interface TurnMessage {
  /** Tells messages apart. */
  readonly kind: "turn";
  /** By request, in order. */
  readonly events: readonly (readonly [request: number, events: readonly TextEvent[]])[];
  /** Requests that ended with an error, after their events. */
  readonly failed: readonly (readonly [request: number, fault: Fault])[];
  /** Jobs that changed, and what they told. */
  readonly jobs: readonly (readonly [info: JobInfo, events: readonly JobEvent[]])[];
  /** All models, where there are others than before. */
  readonly models: readonly ServedModel[] | undefined;
  /** As of the end of the turn. */
  readonly status: RuntimeStatus;
}

/** From the GPU's thread. */
export type FromRuntime =
  | {
    readonly kind: "opened";
    readonly models: readonly ServedModel[];
    readonly status: RuntimeStatus;
  }
  | TurnMessage
  | { readonly kind: "answer"; readonly call: number; readonly value: unknown }
  | { readonly kind: "refusal"; readonly call: number; readonly fault: Fault }
  /** It could not open, or cannot go on. */
  | { readonly kind: "failed"; readonly fault: Fault }
  /** The end. */
  | { readonly kind: "closed"; readonly liveBuffers: number };

/** One end of a connection. */
export interface Port<In, Out> {
  /** Sends; never waits. */
  send(message: Out): void;
  /** Who hears; set once. */
  listen(hear: (message: In) => void): void;
}

/** An error as plain data. */
export function toFault(error: unknown): Fault {
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof RangeError) return { kind: "range", message };
  if (error instanceof CannotError) return { kind: "cannot", message };
  if (error instanceof DeviceLostError) return { kind: "lost", message };
  if (error instanceof NoAdapterError) return { kind: "adapter", message };
  return { kind: "other", message };
}

/** The error that was sent, of its class. */
export function fromFault({ kind, message }: Fault): Error {
  if (kind === "range") return new RangeError(message);
  if (kind === "lost") return new DeviceLostError(message);
  if (kind === "adapter") return new NoAdapterError(message);
  if (kind === "other") return new Error(message);
  const error = new CannotError("", "", "");
  error.message = message;
  return error;
}
