import { assert } from "@std/assert";
import { measureCeilings } from "../../src/gpu/ceiling.ts";
import { gpuTest } from "../support/gpu.ts";

gpuTest("measureCeilings() gives plausible figures and leaves no buffer", async (device) => {
  const { copyGBps, fmaGFLOPs } = await measureCeilings(device, {
    sampleMs: 1,
    copyBytes: 1 << 20,
  });
  assert(copyGBps > 0.05 && copyGBps < 1e5, `${copyGBps} GB/s`);
  assert(fmaGFLOPs > 0.5 && fmaGFLOPs < 1e7, `${fmaGFLOPs} GFLOP/s`);
});
