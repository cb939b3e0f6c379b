/**
 * Labels scored after one prompt: as branches of a prompt that is taken in once, beside each with a
 * prompt of its own. Both compute logits for the labels only.
 *
 * Tokens are those that went through the decoder, as the engine counts them. Beside the prompt and
 * the labels each branch computes the rest of the prompt's last block again, up to 16 tokens.
 *
 * @module
 */
import type { Device } from "../src/gpu/device.ts";
import { spread } from "../src/gpu/profile.ts";
import { Engine } from "../src/infer/engine.ts";
import type { TextRequest } from "../src/infer/request.ts";
import { type ModelConfig, PRESETS } from "../src/model/config.ts";
import { Weights } from "../src/model/parameters.ts";
import { BLOCK_TOKENS } from "../src/ops/attention_cached.ts";
import { PhiloxStream } from "../src/random/philox.ts";
import { type Bench, type BenchContext, check, type Row } from "./harness.ts";

const PROMPT_TOKENS = 512;
/** Tokens of each label. */
const LABELS = [1, 1, 2, 2, 3, 3, 4, 4];
const SIZES = {
  whole: { layers: 6, heads: 6, channels: 384 },
  quick: { layers: 2, heads: 4, channels: 128 },
};
const RUNS = { whole: 5, quick: 1 };
/** Natural logarithms; the two ways have the same bits where kernels do as they should. */
const BOUND = 1e-5;

/** `./brachio bench labels` */
export const bench: Bench = {
  name: "labels",
  summary:
    `${LABELS.length} labels after ${PROMPT_TOKENS} tokens; random weights, GPT-2's vocabulary`,
  async run(context) {
    const { device, quick } = context;
    const config: ModelConfig = { ...PRESETS.gpt2!, ...SIZES[quick ? "quick" : "whole"] };
    const weights = new Weights(device, config, { trainable: false });
    try {
      weights.initialise(device, 1);
      return await measure(context, weights);
    } finally {
      weights.destroy();
    }
  },
};

/** One way to score, measured. */
interface Way {
  ms: number[];
  tokens: number;
  /** Of each label. */
  scores: readonly number[];
}

async function measure({ device, quick }: BenchContext, weights: Weights) {
  const random = new PhiloxStream(1, 0);
  const V = weights.config.vocabSize;
  const draw = (length: number) => Array.from({ length }, () => random.integer(V));
  const prompt = draw(PROMPT_TOKENS);
  const requests = LABELS.map((length): TextRequest => ({
    prompt: [...prompt, ...draw(length)],
    maxTokens: 0,
    top: 1,
    scorePrompt: true,
    scoreFrom: PROMPT_TOKENS,
  }));
  const runs = RUNS[quick ? "quick" : "whole"];
  const whole = await time(device, weights, { requests, prefixCache: false, runs });
  const branched = await time(device, weights, { requests, prefixCache: true, runs });
  const errorShare = check("labels", branched.scores, whole.scores, () => BOUND);
  const row = (name: string, { ms, tokens }: Way): Row => ({
    name,
    timing: { ...spread(ms), samples: runs },
    errorShare,
    extra: { tokens },
  });
  const rows = [row("each with its prompt", whole), row("branches of one prompt", branched)];
  return { rows, notes: notes(rows, { whole, branched }) };
}

/** Both ways count what their last run computed; the prefix cache is empty before each. */
async function time(
  device: Device,
  weights: Weights,
  { requests, prefixCache, runs }: {
    requests: readonly TextRequest[];
    prefixCache: boolean;
    runs: number;
  },
): Promise<Way> {
  const engine = Engine.create(device, weights, { slots: LABELS.length, prefixCache });
  try {
    let way = await once(engine, requests); // compiles
    const ms: number[] = [];
    for (let run = 0; run < runs; run++) {
      engine.forget();
      way = await once(engine, requests);
      ms.push(...way.ms);
    }
    return { ...way, ms };
  } finally {
    engine.destroy();
  }
}

async function once(engine: Engine, requests: readonly TextRequest[]): Promise<Way> {
  const before = engine.stats.promptTokensComputed;
  const startMs = performance.now();
  const scores = requests.map(() => 0);
  for (const [index, request] of requests.entries()) {
    engine.submit(request, (event) => {
      if (event.kind !== "prompt") return;
      scores[index] = event.tokens.reduce((sum, { logProbability }) => sum + logProbability!, 0);
    });
  }
  await engine.run();
  const ms = [performance.now() - startMs];
  return { ms, tokens: engine.stats.promptTokensComputed - before, scores };
}

/** What the counts are made of; a text's last token is never an input. */
function notes(
  [slow, fast]: readonly Row[],
  { whole, branched }: { whole: Way; branched: Way },
): string[] {
  const K = LABELS.length;
  const P = PROMPT_TOKENS;
  const sum = LABELS.reduce((a, b) => a + b);
  const tail = P - Math.floor((P - 1) / BLOCK_TOKENS) * BLOCK_TOKENS;
  const want = { whole: K * P + sum - K, branched: P + sum - K + (K - 1) * tail };
  if (whole.tokens !== want.whole || branched.tokens !== want.branched) {
    const got = `${whole.tokens} and ${branched.tokens}`;
    throw new Error(
      `Cannot bench labels: ${want.whole} and ${want.branched} tokens computed: ${got}`,
    );
  }
  const ratio = (a: number, b: number) => (a / b).toFixed(1);
  return [
    `K(P - 1) + ΣL = ${K} × ${P - 1} + ${sum} = ${whole.tokens} tokens one by one; ` +
    `(P - 1) + ΣL + (K - 1)(tail - 1) = ${P - 1} + ${sum} + ${K - 1} × ${tail - 1} = ` +
    `${branched.tokens} as branches`,
    `${ratio(whole.tokens, branched.tokens)} times fewer tokens, ` +
    `${ratio(slow!.timing.ms, fast!.timing.ms)} times less time`,
  ];
}
