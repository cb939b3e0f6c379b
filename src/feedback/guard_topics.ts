/**
 * Prompts in topics, so that a labeler who misleads on one of them stands out there: spherical
 * k-means (I. S. Dhillon and D. S. Modha, "Concept Decompositions for Large Sparse Text Data Using
 * Clustering", 2001), begun as k-means++ does (D. Arthur and S. Vassilvitskii, 2007).
 *
 * @module
 */
import { PhiloxStream } from "../random/philox.ts";
import { densePrompt, promptVectors, type SparseVector } from "./guard_features.ts";

/** Topics at most. */
const MOST_TOPICS = 12;
/** Prompts that a topic should have at least, on average. */
const PROMPTS_A_TOPIC = 25;
const ROUNDS = 12;
/** Beginnings, of which the tightest counts. */
const STARTS = 4;
/** Stream of the draws; no other part of the program uses this one. */
const STREAM = 0x746f7069; // "topi"

/**
 * The topic of each prompt: a number from 0 on.
 *
 * @param prompts each once
 */
export function topicsOf(prompts: readonly string[]): Uint8Array {
  const count = Math.min(MOST_TOPICS, Math.max(1, Math.floor(prompts.length / PROMPTS_A_TOPIC)));
  if (count === 1) return new Uint8Array(prompts.length);
  const vectors = promptVectors(prompts);
  let best: { topics: Uint8Array; tightness: number } | undefined;
  for (let start = 0; start < STARTS; start++) {
    const found = cluster(vectors, count, new PhiloxStream(start, STREAM));
    if (!best || found.tightness > best.tightness) best = found;
  }
  return best!.topics;
}

function cluster(
  vectors: readonly SparseVector[],
  count: number,
  random: PhiloxStream,
): { topics: Uint8Array; tightness: number } {
  let centres = firstCentres(vectors, count, random);
  const topics = new Uint8Array(vectors.length);
  let tightness = 0;
  for (let round = 0; round < ROUNDS; round++) {
    tightness = 0;
    for (const [i, vector] of vectors.entries()) {
      const products = centres.map((centre) => product(vector, centre));
      topics[i] = products.indexOf(Math.max(...products));
      tightness += products[topics[i]!]!;
    }
    centres = centres.map((old, topic) => {
      const members = vectors.filter((_, i) => topics[i] === topic);
      return members.length > 0 ? unit(members) : old;
    });
  }
  return { topics, tightness };
}

/** Each is drawn by its distance from those before it. */
function firstCentres(
  vectors: readonly SparseVector[],
  count: number,
  random: PhiloxStream,
): Float64Array[] {
  const centres = [unit([vectors[random.integer(vectors.length)]!])];
  const nearest = vectors.map(() => -Infinity);
  while (centres.length < count) {
    for (const [i, vector] of vectors.entries()) {
      nearest[i] = Math.max(nearest[i]!, product(vector, centres.at(-1)!));
    }
    const distances = nearest.map((cosine) => Math.max(0, 1 - cosine));
    let left = random.uniform() * distances.reduce((sum, distance) => sum + distance, 0);
    const at = distances.findIndex((distance) => (left -= distance) <= 0);
    centres.push(unit([vectors[Math.max(0, at)]!]));
  }
  return centres;
}

function product({ at, values }: SparseVector, dense: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < at.length; i++) sum += values[i]! * dense[at[i]!]!;
  return sum;
}

/** The direction of a sum. */
function unit(vectors: readonly SparseVector[]): Float64Array {
  const sum = densePrompt();
  for (const { at, values } of vectors) {
    for (let i = 0; i < at.length; i++) sum[at[i]!]! += values[i]!;
  }
  const length = Math.sqrt(sum.reduce((total, value) => total + value * value, 0)) || 1;
  return sum.map((value) => value / length);
}
