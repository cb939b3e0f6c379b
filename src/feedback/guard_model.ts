/**
 * The guards' model of preferences: Bradley and Terry's with a linear score of sparse features,
 * that is logistic regression on their difference, without a constant.
 *
 * It is fitted by AdaGrad (J. Duchi, E. Hazan and Y. Singer, 2011) with a penalty on squares, which
 * needs no rate to be found for each set of data.
 *
 * @module
 */
import { PhiloxStream } from "../random/philox.ts";
import { DIMENSIONS, type SparseVector } from "./guard_features.ts";

/** How a model is fitted. */
export interface FitOptions {
  /** Passes over the pairs. @default 4 */
  readonly epochs?: number;
  /** Penalty on squares, a pair. @default 1e-3 */
  readonly penalty?: number;
  /** Of the order of pairs. @default 0 */
  readonly seed?: number;
}

/** Stream of the draws; no other part of the program uses this one. */
const STREAM = 0x67756172; // "guar"
const RATE = 0.35;
/** Pairs between two points where other work may go on: about a millisecond. */
const PAIRS_A_TURN = 500;

/** Scores a pair: above 0 where its first text is better. */
export class PreferenceModel {
  readonly #weights = new Float32Array(DIMENSIONS);

  /**
   * Fits a model to pairs whose first text is better. Yields where other work may go on.
   *
   * @param weights of the pairs, 0 or more
   */
  static *fit(
    pairs: readonly SparseVector[],
    weights: ArrayLike<number>,
    options: FitOptions = {},
  ): Generator<void, PreferenceModel> {
    const { epochs = 4, penalty = 1e-3, seed = 0 } = options;
    const model = new PreferenceModel();
    const w = model.#weights;
    const squares = new Float32Array(DIMENSIONS).fill(1e-6);
    const order = Uint32Array.from(pairs.keys()).filter((i) => weights[i]! > 0);
    const random = new PhiloxStream(seed, STREAM);
    for (let epoch = 0; epoch < epochs; epoch++) {
      shuffle(order, random);
      for (let turn = 0; turn < order.length; turn += PAIRS_A_TURN) {
        for (const i of order.subarray(turn, turn + PAIRS_A_TURN)) {
          const pair = pairs[i]!;
          // −∂/∂score of log σ(score)
          const slope = -weights[i]! / (1 + Math.exp(model.score(pair)));
          const { at, values } = pair;
          for (let j = 0; j < at.length; j++) {
            const place = at[j]!;
            const gradient = slope * values[j]! + penalty * w[place]!;
            squares[place]! += gradient * gradient;
            w[place]! -= RATE * gradient / Math.sqrt(squares[place]!);
          }
        }
        yield;
      }
    }
    return model;
  }

  /** Log-odds that the first text of a pair is better. */
  score({ at, values }: SparseVector): number {
    let sum = 0;
    for (let j = 0; j < at.length; j++) sum += this.#weights[at[j]!]! * values[j]!;
    return sum;
  }
}

/**
 * The factor that makes log-odds most likely, of pairs whose first text is said to be better. It is
 * small where the model knows little, or labels are noise.
 *
 * @param weights of the pairs, 0 or more
 */
export function temperatureOf(scores: ArrayLike<number>, weights: ArrayLike<number>): number {
  let best = { factor: 1, loss: Infinity };
  for (let step = -24; step <= 8; step++) {
    const factor = 2 ** (step / 4);
    let loss = 0;
    for (let i = 0; i < scores.length; i++) {
      if (weights[i]! > 0) loss += weights[i]! * softplus(-factor * scores[i]!);
    }
    if (loss < best.loss) best = { factor, loss };
  }
  return best.factor;
}

/** log(1 + e^x). */
export function softplus(x: number): number {
  return x > 30 ? x : Math.log1p(Math.exp(x));
}

function shuffle(order: Uint32Array, random: PhiloxStream): void {
  for (let i = order.length - 1; i > 0; i--) {
    const j = random.integer(i + 1);
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
}
