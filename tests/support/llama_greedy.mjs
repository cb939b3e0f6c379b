// What llama.cpp continues ids with, and the ids of a text: llama_greedy.mjs FILE COUNT TEXT ID…
// Runs in a folder that has node-llama-cpp, which no other part of this program needs.
const peer = "node-llama-cpp"; // by name, so that the type checker does not look for it
const { getLlama } = await import(peer);

const [modelPath, count, text, ...ids] = Deno.args;
const llama = await getLlama({
  gpu: false,
  build: "never",
  skipDownload: true,
  logLevel: "error",
});
const model = await llama.loadModel({ modelPath, gpuLayers: 0 });
const contextSize = Math.min(model.trainContextSize, 128);
const context = await model.createContext({ contextSize, threads: 2 });
const out = [];
for await (const id of context.getSequence().evaluate(ids.map(Number), { temperature: 0 })) {
  out.push(id);
  if (out.length >= Number(count)) break;
}
console.log(JSON.stringify({ ids: out, tokens: model.tokenize(text, true) }));
Deno.exit();
