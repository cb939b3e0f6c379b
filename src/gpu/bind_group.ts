/**
 * Bind groups of recorded dispatches, once their tensors have buffers.
 *
 * @module
 */
import { type Dispatch, writes } from "./binding.ts";
import type { Device } from "./device.ts";
import { paramsBytes } from "./kernel.ts";

/**
 * The bind group of a dispatch.
 *
 * @param owner `plan` names it in messages; `params` holds the scalars of all its dispatches
 * @throws {RangeError} When it would read and write one buffer, or write one range twice.
 */
export function bindGroup(
  device: Device,
  item: Dispatch,
  { plan, params }: { plan: string; params: GPUBuffer | undefined },
): GPUBindGroup {
  const { kernel } = item;
  const buffers = item.bindings.filter(({ access }) => access !== "texture");
  const ranges = buffers.map((binding) => {
    const { tensor } = binding;
    const { buffer, offsetBytes } = tensor.storage;
    const room = buffer.size - offsetBytes;
    // Whole vec4s, as the shader may read; buffers and windows are padded to 16 bytes.
    const sizeBytes = Math.min(Math.ceil(tensor.sizeBytes / 16) * 16, room);
    return {
      tensor,
      writes: writes(binding),
      buffer,
      offsetBytes,
      sizeBytes,
    };
  });
  for (const [index, a] of ranges.entries()) {
    for (const b of ranges.slice(0, index)) {
      if (a.buffer !== b.buffer || !(a.writes || b.writes)) continue;
      const apart = a.offsetBytes >= b.offsetBytes + b.sizeBytes ||
        b.offsetBytes >= a.offsetBytes + a.sizeBytes;
      if (a.writes && b.writes && apart) continue;
      const want = a.writes && b.writes
        ? "writable bindings that do not overlap"
        : "no buffer both read and written";
      throw new RangeError(
        `Cannot seal plan "${plan}": ${kernel.label} with ${want}: ` +
          `"${b.tensor.label}" and "${a.tensor.label}" share one`,
      );
    }
  }
  const bound = ranges.values();
  const entries: GPUBindGroupEntry[] = item.bindings.map(({ copy }) => {
    if (copy) return { binding: 0, resource: copy.texture!.createView() };
    const { buffer, offsetBytes, sizeBytes } = bound.next().value!;
    return { binding: 0, resource: { buffer, offset: offsetBytes, size: sizeBytes } };
  });
  if (kernel.source.params.length > 0) {
    const size = paramsBytes(kernel.source);
    entries.unshift({
      binding: 0,
      resource: { buffer: params!, offset: item.slotBytes, size },
    });
  }
  entries.forEach((entry, binding) => entry.binding = binding);
  device.counters.bindGroups++;
  return device.gpu.createBindGroup({
    label: kernel.label,
    layout: kernel.layout,
    entries,
  });
}
