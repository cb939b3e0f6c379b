/**
 * The share of a labeler's verdicts that are turned around, as far as it is known.
 *
 * @module
 */

/** Shares of turned verdicts on a grid: their probabilities given what was seen. */
export class FlipPosterior {
  static readonly #GRID = Float64Array.from({ length: 50 }, (_, i) => (i + 0.5) / 50);
  readonly #logs = new Float64Array(FlipPosterior.#GRID.length);
  #shares: Float64Array | undefined;

  /** A Beta distribution before anything is seen. */
  constructor(mean: number, strength: number) {
    for (const [i, flips] of FlipPosterior.#GRID.entries()) {
      this.#logs[i] = (mean * strength - 1) * Math.log(flips) +
        ((1 - mean) * strength - 1) * Math.log(1 - flips);
    }
  }

  /** A verdict that is right with a probability, as the model says. */
  see(probability: number): void {
    for (const [i, flips] of FlipPosterior.#GRID.entries()) {
      this.#logs[i]! += Math.log(probability + flips * (1 - 2 * probability));
    }
    this.#shares = undefined;
  }

  get #probabilities(): Float64Array {
    if (this.#shares) return this.#shares;
    const top = Math.max(...this.#logs);
    const shares = this.#logs.map((log) => Math.exp(log - top));
    const sum = shares.reduce((total, share) => total + share, 0);
    return this.#shares = shares.map((share) => share / sum);
  }

  /** The mean. */
  get mean(): number {
    return this.#probabilities.reduce((sum, share, i) => sum + share * FlipPosterior.#GRID[i]!, 0);
  }

  /** How likely the share is above a bound. */
  above(bound: number): number {
    return this.#probabilities.reduce(
      (sum, share, i) => FlipPosterior.#GRID[i]! > bound ? sum + share : sum,
      0,
    );
  }
}
