/**
 * Predictable scaling: the loss of a large model, foretold from smaller ones.
 *
 * Source: OpenAI, "GPT-4 Technical Report", 2023, section 3.1: L(C) = a·C^b + c, fitted to models
 * of less compute before the largest is trained.
 *
 * @module
 */

/** A trained model: what it took, and what it reached. */
export interface ScalingPoint {
  /** Floating-point operations of its training. */
  readonly compute: number;
  /** Validation loss, nats a token. */
  readonly loss: number;
}

/** loss = a · compute^b + c, with b below 0. */
export interface PowerLaw {
  /** Scale. */
  readonly a: number;
  /** Exponent. */
  readonly b: number;
  /** What no compute goes below; 0 or more. */
  readonly c: number;
  /** Root of the mean squared difference to the points, in logarithms. */
  readonly error: number;
}

/** Values of c that are tried, as shares of the lowest loss. */
const FLOORS = 400;

/**
 * Fits a power law with a floor: for each floor, a line through the logarithms of what is above it;
 * the floor with the least squared difference of the losses' logarithms wins.
 *
 * @throws {RangeError} With fewer than 3 points, or where more compute is not better.
 *
 * @example
 * ```ts
 * import { assertAlmostEquals } from "@std/assert";
 * const points = [1, 2, 4, 8].map((compute) => ({ compute, loss: 2 * compute ** -0.5 + 1 }));
 * const law = fitPowerLaw(points);
 * assertAlmostEquals(predictLoss(law, 64), 1.25, 0.01);
 * ```
 */
export function fitPowerLaw(points: readonly ScalingPoint[]): PowerLaw {
  if (points.length < 3) {
    throw new RangeError(`Cannot fit a power law: want 3 points or more: got ${points.length}`);
  }
  const lowest = Math.min(...points.map(({ loss }) => loss));
  const x = points.map(({ compute }) => Math.log(compute));
  let best: PowerLaw | undefined;
  for (let i = 0; i < FLOORS; i++) {
    const c = lowest * i / FLOORS;
    const [slope, offset] = line(x, points.map(({ loss }) => Math.log(loss - c)));
    const law = { a: Math.exp(offset), b: slope, c };
    const squares = points.map(({ compute, loss }) =>
      Math.log(predictLoss(law, compute) / loss) ** 2
    );
    const error = Math.sqrt(squares.reduce((sum, square) => sum + square, 0) / points.length);
    if (slope < 0 && (best === undefined || error < best.error)) best = { ...law, error };
  }
  if (best) return best;
  const want = "want losses that fall with compute";
  throw new RangeError(`Cannot fit a power law: ${want}: got ${JSON.stringify(points)}`);
}

/** The loss that a law foretells. */
export function predictLoss({ a, b, c }: Omit<PowerLaw, "error">, compute: number): number {
  return a * compute ** b + c;
}

/** Slope and offset of the line of least squares. */
function line(x: readonly number[], y: readonly number[]): [slope: number, offset: number] {
  const mean = (values: readonly number[]) => values.reduce((sum, v) => sum + v, 0) / values.length;
  const [mx, my] = [mean(x), mean(y)];
  const over = x.reduce((sum, value, i) => sum + (value - mx) * (y[i]! - my), 0);
  const under = x.reduce((sum, value) => sum + (value - mx) ** 2, 0);
  const slope = over / under;
  return [slope, my - slope * mx];
}
