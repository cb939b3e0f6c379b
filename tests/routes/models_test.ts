import { assertEquals } from "@std/assert";
import { servedModel } from "../support/fake_runtime.ts";
import { FakeServe } from "../support/serve.ts";

const MODELS = [servedModel(), servedModel({ id: "tiny@3", step: 3, weightsHash: "f".repeat(64) })];

Deno.test("the models are listed, the default first", async () => {
  const { app } = new FakeServe({ models: MODELS });
  const list = await (await app.request("/v1/models")).json();
  assertEquals(list.object, "list");
  assertEquals(list.data[0], {
    id: "tiny",
    object: "model",
    created: 1_700_000_000,
    owned_by: "brachio",
    max_model_len: 64,
    system_fingerprint: "fp_0123456789",
    meta: {
      n_vocab: 300,
      n_ctx_train: 64,
      n_embd: 8,
      n_params: 1234,
      size: 4936,
      step: 7,
      weights_hash: MODELS[0]!.weightsHash,
    },
  });
  assertEquals(list.data.map(({ id }: { id: string }) => id), ["tiny", "tiny@3"]);
});

Deno.test("one model is found by its id, an @ in it or not", async () => {
  const { app } = new FakeServe({ models: MODELS });
  for (const [path, id] of [["tiny", "tiny"], ["tiny@3", "tiny@3"], ["tiny%403", "tiny@3"]]) {
    const response = await app.request(`/v1/models/${path}`);
    assertEquals([response.status, (await response.json()).id], [200, id]);
  }
  const response = await app.request("/v1/models/tiny@4");
  const { error } = await response.json();
  assertEquals([response.status, error.code, error.param], [404, "model_not_found", "model"]);
});

Deno.test("a request reaches the model that it names", async () => {
  const serve = new FakeServe({ models: MODELS, script: "x" });
  for (const model of ["tiny@3", "tiny", undefined]) {
    const answer = await serve.ok("/v1/completions", { model, prompt: "x" });
    assertEquals(answer.model, model ?? "tiny");
  }
  assertEquals(serve.runtime.calls.map(({ model }) => model), ["tiny@3", "tiny", "tiny"]);
  assertEquals(serve.records.map(({ weightsHash }) => weightsHash[0]), ["f", "0", "0"]);
});
