/**
 * Weights of a checkpoint in a model that has more: new tokens, a head.
 *
 * @module
 */
import { CannotError } from "../config/cannot.ts";
import type { Device } from "../gpu/device.ts";
import { embeddingNames, parameterTable, type Weights } from "../model/parameters.ts";
import { PhiloxStream } from "../random/philox.ts";
import type { Checkpoint } from "../run/checkpoint.ts";

/** Rows of new tokens and tensors of heads draw from these streams on; no initialisation does. */
const GROW_STREAM = 0x67726f77; // "grow"
/** Of new tokens, as all embeddings begin. */
const STD = 0.02;

/**
 * Loads the decoder of a checkpoint. Rows of the token embedding that it lacks, and all heads, are
 * drawn from the seed: N(0, 0.02²).
 *
 * @throws {CannotError} When the checkpoint's decoder is of other sizes.
 */
export function loadGrown(
  device: Device,
  checkpoint: Checkpoint,
  weights: Weights,
  seed: number,
): void {
  const file = checkpoint.tensors("model.safetensors");
  const { wte } = embeddingNames(weights.config);
  const decoderNames = new Set(parameterTable(weights.config).map(({ name }) => name));
  try {
    weights.table.forEach(({ name, shape }, index) => {
      const data = new Float32Array(shape.reduce((product, dim) => product * dim, 1));
      const known = decoderNames.has(name) ? file.floats(name) : new Float32Array(0);
      const canGrow = name === wte || !decoderNames.has(name);
      if (known.length > data.length || (known.length < data.length && !canGrow)) {
        const want = `want ${data.length} elements in "${name}"`;
        throw new CannotError(`start from ${checkpoint.path}`, want, `it has ${known.length}`);
      }
      if (known.length < data.length) {
        const stream = new PhiloxStream(seed, GROW_STREAM + index);
        stream.fillNormal(data.subarray(known.length), 0, STD);
      }
      data.set(known);
      weights.write(device, name, data);
    });
  } finally {
    file.close();
  }
}
