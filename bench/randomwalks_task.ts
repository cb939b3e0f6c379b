/**
 * trlX's random walks: a small directed graph whose nodes are letters, walks on it, and how near a
 * walk is to the shortest one to the goal.
 *
 * Source: the task of trlX (CarperAI), examples/randomwalks: 21 nodes, an edge with probability
 * 0.1, 1,000 walks of up to 10 nodes. The random numbers are ours, so the graphs are others.
 *
 * @module
 */
import { PhiloxStream } from "../src/random/philox.ts";

const NODES = 21;
const EDGE = 0.1;
const WALKS = 1000;
/** Nodes of a walk, at most. */
export const MOST_NODES = 10;

/** A graph and walks on it, of a seed. */
export interface RandomWalks {
  /** Each begins somewhere and ends at the goal, or after the most nodes. */
  readonly walks: readonly string[];
  /** Letters that walks begin with. */
  readonly starts: readonly string[];
  /** Share of the best that a walk reaches: 1 is a shortest one to the goal, 0 none to it. */
  optimality(walk: string): number;
}

const GOAL = 0;
const letter = (node: number) => String.fromCharCode(97 + node);
const nodeOf = (char: string) => char.charCodeAt(0) - 97;

/** A graph from whose every node a walk can reach the goal, and walks on it. */
export function randomWalks(seed: number): RandomWalks {
  const stream = new PhiloxStream(seed);
  let edges: number[][];
  let nodesToGoal: number[];
  do {
    edges = Array.from(
      { length: NODES },
      (_, from) =>
        from === GOAL
          ? []
          : Array.from({ length: NODES }, (_, to) => to).filter((to) =>
            to !== from && uniform(stream) < EDGE
          ),
    );
    nodesToGoal = shortest(edges);
  } while (nodesToGoal.some((count) => count >= MOST_NODES));
  const walks = Array.from({ length: WALKS }, () => {
    let node = 1 + stream.integer(NODES - 1);
    const nodes = [node];
    while (node !== GOAL && nodes.length < MOST_NODES) {
      node = edges[node]![stream.integer(edges[node]!.length)]!;
      nodes.push(node);
    }
    return nodes.map(letter).join("");
  });
  const optimality = (walk: string) => {
    const nodes = [...walk].map(nodeOf);
    const end = nodes.indexOf(GOAL);
    const isWalk = nodes.slice(1, end + 1).every((to, i) => edges[nodes[i]!]?.includes(to));
    if (end < 1 || !isWalk) return 0;
    return (MOST_NODES - (end + 1)) / (MOST_NODES - nodesToGoal[nodes[0]!]!);
  };
  return { walks, starts: [...new Set(walks.map((walk) => walk[0]!))].sort(), optimality };
}

function uniform(stream: PhiloxStream): number {
  return stream.nextU32() / 2 ** 32;
}

/** Nodes of the shortest walk from each node to the goal; infinite where there is none. */
function shortest(edges: readonly (readonly number[])[]): number[] {
  const counts = edges.map((_, node) => node === GOAL ? 1 : Infinity);
  for (let round = 0; round < edges.length; round++) {
    edges.forEach((next, node) => {
      for (const to of next) counts[node] = Math.min(counts[node]!, counts[to]! + 1);
    });
  }
  return counts;
}
