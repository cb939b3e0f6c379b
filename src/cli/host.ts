/**
 * Where a stage runs and where it prints: on its own, or as one of many on the way of the whole
 * road.
 *
 * @module
 */
import { measureCeilings } from "../gpu/ceiling.ts";
import { Device } from "../gpu/device.ts";
import { tuneMatmul } from "../ops/matmul_tuning.ts";
import { FileTileStore } from "../run/tile_store.ts";
import { type ProgressSink, STDOUT } from "./progress.ts";

/** What stages share that run one after the other. */
export interface StageHost {
  /** Whoever opened it closes it. */
  readonly device: Device;
  /** Multiply-adds that it was measured to do a second, as floating-point operations. */
  readonly ceilingFlops: number;
  /** Takes lines and progress. */
  readonly sink: ProgressSink;
  /** What an interrupted stage says of how to go on. @default its own command */
  readonly goOn?: string;
}

/** Options of commands that run on a device. */
export interface HostedCommand {
  /** False: without the subgroups feature. */
  subgroups: boolean;
  /** False: without the shader-f16 feature. */
  f16: boolean;
  /** Where to run instead of on a device of its own. */
  host?: StageHost;
}

/** The host that was given, or one of its own, which `cleanup` closes. */
export async function stageHost(
  { subgroups, f16, host }: HostedCommand,
  cleanup: DisposableStack,
): Promise<StageHost> {
  if (host) return host;
  const device = await Device.open({ subgroups, f16 });
  cleanup.defer(() => device.close());
  await tuneMatmul(device, FileTileStore.open());
  const { fmaGFLOPs } = await measureCeilings(device, { sampleMs: 30, copyBytes: 1 << 20 });
  return { device, ceilingFlops: fmaGFLOPs * 1e9, sink: STDOUT };
}

/** Prints a line. */
export function say({ sink }: Pick<StageHost, "sink">, line: string): void {
  sink.write(`${line}\n`);
}
