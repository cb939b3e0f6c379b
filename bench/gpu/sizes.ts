/**
 * How much work the benches of a GPU do: what fills a large one, or what a software adapter can do
 * in a minute to show that all of it runs.
 *
 * @module
 */
import { type ModelConfig, PRESETS } from "../../src/model/config.ts";
import type { Layout } from "../../src/ops/matmul.ts";

/** A product of the bench. */
export interface ProductSize {
  readonly layout: Layout;
  readonly M: number;
  readonly N: number;
  readonly K: number;
  /** As the training step asks for it. */
  readonly sharesTerms?: boolean;
}

/** Work of all parts. */
export interface Sizes {
  readonly products: readonly ProductSize[];
  readonly attention: readonly { B: number; T: number; NH: number; HS: number }[];
  /** Rows of a batch of the training step, the largest that fits first. */
  readonly training: {
    readonly model: ModelConfig;
    readonly T: number;
    readonly rows: readonly number[];
  };
  readonly decoding: readonly {
    readonly title: string;
    readonly model: ModelConfig;
    readonly rows: readonly number[];
    readonly tokens: number;
  }[];
}

/** Each layout once. */
function square(side: number): ProductSize[] {
  return (["nn", "nt", "tn"] as const).map((layout) => ({ layout, M: side, N: side, K: side }));
}

/** M rows of GPT-2 small's layers, and the head on a chunk of 256. */
function gpt2Products(M: number): ProductSize[] {
  const layers = [[768, 2304], [768, 768], [768, 3072], [3072, 768]] as const;
  return [
    ...layers.flatMap(([K, N]): ProductSize[] => [
      { layout: "nn", M, N, K },
      { layout: "nt", M, N: K, K: N, sharesTerms: true },
      { layout: "tn", M: K, N, K: M, sharesTerms: true },
    ]),
    { layout: "nt", M: 256, N: 50304, K: 768 },
    { layout: "nn", M: 256, N: 768, K: 50304, sharesTerms: true },
    { layout: "tn", M: 50304, N: 768, K: 256, sharesTerms: true },
  ];
}

const TINY: ModelConfig = { ...PRESETS.gpt2!, layers: 2, channels: 128, heads: 2, vocabSize: 512 };

/** @param large for an adapter that is a GPU */
export function sizes(large: boolean): Sizes {
  if (!large) {
    return {
      products: square(256),
      attention: [{ B: 1, T: 128, NH: 2, HS: 32 }],
      training: { model: TINY, T: 64, rows: [2] },
      decoding: [{ title: "tiny", model: TINY, rows: [1, 4], tokens: 4 }],
    };
  }
  return {
    products: [
      ...square(4096),
      ...gpt2Products(8192),
    ],
    attention: [{ B: 8, T: 1024, NH: 12, HS: 64 }, { B: 2, T: 4096, NH: 12, HS: 64 }],
    training: { model: PRESETS.gpt2!, T: 1024, rows: [32, 16, 8, 4] },
    decoding: [
      { title: "GPT-2 small", model: PRESETS.gpt2!, rows: [1, 16, 64], tokens: 128 },
      { title: "GPT-2 1558M", model: PRESETS["gpt2-xl"]!, rows: [1, 16, 64], tokens: 64 },
    ],
  };
}
