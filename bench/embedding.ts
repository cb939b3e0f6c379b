/**
 * Token and position embedding, forward and the gradients of both tables.
 *
 * @module
 */
import { sharded } from "../src/gpu/tensor.ts";
import { buildBuckets } from "../src/ops/buckets.ts";
import { embedding } from "../src/ops/embedding.ts";
import { embeddingBackward, embeddingForward } from "../tests/reference/embedding.ts";
import { OpScope } from "../tests/support/op.ts";
import { integers, normal } from "../tests/support/random.ts";
import { type Bench, check, type Row, timeKernels } from "./harness.ts";

const SHAPES = [{ B: 12, T: 64, C: 128, V: 65 }, { B: 4, T: 512, C: 768, V: 8192 }];

/** `./brachio bench embedding` */
export const bench: Bench = {
  name: "embedding",
  summary: "GB/s count the rows that are gathered, and their gradients",
  async run(context) {
    const rows: Row[] = [];
    for (const { B, T, C, V } of SHAPES) {
      const scope = new OpScope(context.device);
      const [N, maxT] = [B * T, T];
      const ids = integers(1, N, V);
      const [tokens, positions] = [normal(2, V * C, 1), normal(3, T * C, 1)];
      const dout = normal(4, N * C, 1);
      const wte = scope.parameter("wte", [V, C], tokens, new Float32Array(V * C));
      const wpe = scope.parameter("wpe", [T, C], positions, new Float32Array(T * C));
      const inputs = scope.upload("ids", [B, T], ids);
      const packed = buildBuckets(ids);
      const buckets = scope.upload("buckets", [packed.length], packed);
      const out = embedding(scope.plan, inputs, { wte: sharded(wte), wpe }, { buckets });
      await scope.run(out, dout);
      const { device } = context;
      const forward = embeddingForward(ids, tokens, positions, { B, T, C });
      const back = embeddingBackward(dout, ids, { B, T, C, Vp: V, maxT });
      const name = `${N}×${C}, V = ${V}`;
      const errorShare = Math.max(
        check(`embedding ${name}`, await device.read(out), forward, () => 1e-6),
        check(`dwte ${name}`, await device.read(wte.grad!), back.dwte, () => 1e-4),
        check(`dwpe ${name}`, await device.read(wpe.grad!), back.dwpe, () => 1e-4),
      );
      const names = { embedding_forward: `forward ${name}`, rows_add: `dwte, dwpe ${name}` };
      rows.push(...await timeKernels(scope.plan, names, { ...context, errorShare }));
      scope.destroy();
    }
    return { rows };
  },
};
