import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { CannotError } from "../../src/config/cannot.ts";
import type { ModelConfig } from "../../src/model/config.ts";
import { parameterTable, weightBytes, Weights } from "../../src/model/parameters.ts";
import { gpuTest } from "../support/gpu.ts";
import { TINY_MODELS, tinyTensor } from "../support/models.ts";

const TINY = TINY_MODELS.gpt2!;
/** Its embedding is of two pages. */
const WIDE: ModelConfig = {
  ...TINY,
  vocabSize: 4500,
  channels: 256,
  layers: 1,
  contextLength: 7,
};

for (const dtype of ["f32", "f16"] as const) {
  gpuTest(`Weights of ${dtype} load a page at a time`, async (device) => {
    const weights = new Weights(device, WIDE, { trainable: false, dtype });
    const data = new Map(
      weights.table.map((spec, index) => [spec.name, tinyTensor(spec, index + 1)]),
    );
    const asked: string[] = [];
    let pages = 0;
    await weights.load(device, (name, { start, count }) => {
      if (asked.at(-1) !== name) asked.push(name);
      return data.get(name)!.subarray(start, start + count);
    }, () => Promise.resolve(void pages++));
    assertEquals(asked, weights.table.map(({ name }) => name));
    assertEquals(pages, weights.table.length + 1);
    for (const { name, shape } of weights.table) {
      const isHalf = dtype === "f16" && shape.length > 1;
      const want = isHalf ? data.get(name)!.map(Math.f16round) : data.get(name)!;
      assertEquals(await weights.read(device, name), want, name);
    }
    weights.destroy();
  });
}

gpuTest("Weights load a page that is of two windows", async (device) => {
  const config = { ...WIDE, vocabSize: 65_600, channels: 512 };
  const weights = new Weights(device, config, { trainable: false });
  const [wte] = weights.table;
  assertEquals(weights.sharded(wte!.name).windows.map(({ rows }) => rows), [65_536, 64]);
  const numberAt = (index: number) => index % 16_777_213;
  await weights.load(
    device,
    (_, { start, count }) => Float32Array.from({ length: count }, (_, i) => numberAt(start + i)),
  );
  const got = await weights.read(device, wte!.name);
  assertEquals(got.findIndex((x, i) => x !== numberAt(i)), -1);
  weights.destroy();
}, { limits: { maxStorageBufferBindingSize: 2 ** 27 } });

gpuTest("Weights of f16 refuse what does not fit, and training", async (device) => {
  const make = (config: ModelConfig, trainable = false) =>
    new Weights(device, config, { trainable, dtype: "f16" });
  assertThrows(() => make(TINY, true), RangeError, "f32 where they are trained");
  assertThrows(
    () => make({ ...TINY, heads: 1, channels: 33 }),
    CannotError,
    "Cannot keep weights in f16: want an even number of channels: it has 33",
  );
  const weights = make(TINY);
  const count = TINY.contextLength * TINY.channels;
  const large = new Float32Array(count).fill(1);
  large[5] = -70_000;
  const refusal = `Cannot keep "transformer.wpe.weight" in f16: want numbers of at most 65504 in ` +
    "size; f32 keeps larger ones: it has -70000";
  assertThrows(
    () => weights.write(device, "transformer.wpe.weight", large),
    CannotError,
    refusal,
  );
  const read = (name: string, { count }: { count: number }) =>
    name === "transformer.wpe.weight" ? large : new Float32Array(count);
  await assertRejects(() => weights.load(device, read), CannotError, refusal);
  weights.destroy();
});

Deno.test("weightBytes() halves matrices and embeddings, not gains and biases", () => {
  const config = { ...TINY, layers: 1 };
  const whole = weightBytes(parameterTable(config));
  const vectors = parameterTable(config)
    .filter(({ shape }) => shape.length === 1)
    .reduce((sum, { shape }) => sum + 4 * shape[0]!, 0);
  assertEquals(weightBytes(parameterTable(config, "f16")), (whole - vectors) / 2 + vectors);
});
