/**
 * Votes of a simulated model.
 *
 * @module
 */
import { countVotes } from "../src/prompt/cot_votes.ts";
import { PhiloxStream } from "../src/random/philox.ts";

const SEED = 20_230_519;

/**
 * Answers of a model that is right with a chance of 0.3 to 0.99, wrong in four ways, and gives none
 * 3 times in 100.
 */
export function simulateVotes(question: number, samples: number): (string | undefined)[] {
  const random = new PhiloxStream(SEED, question);
  const right = 0.3 + 0.69 * random.uniform();
  const shares = [right];
  for (let wrong = 0, rest = 1 - right; wrong < 4; wrong++) {
    const share = wrong === 3 ? rest : rest * random.uniform();
    shares.push(share);
    rest -= share;
  }
  return Array.from({ length: samples }, () => {
    if (random.uniform() < 0.03) return undefined; // no answer could be read
    let draw = random.uniform();
    const at = shares.findIndex((share) => (draw -= share) < 0);
    return String(at === -1 ? 4 : at);
  });
}

/** The answer of a majority. */
export function winnerOf(keys: readonly (string | undefined)[]): string | undefined {
  const ballots = keys.map((key) => ({ key, logProbability: -1, meanLogProbability: -1 }));
  return countVotes(ballots, "majority")[0]?.key;
}
