/**
 * A client of `bench feedback`, in a Worker: it sends by the clock, and again what was not
 * answered.
 *
 * @module
 */

/** What a client is to do. */
export interface ClientTask {
  /** Of the server. */
  readonly url: string;
  /** Its number. */
  readonly client: number;
  /** For so many labelers. */
  readonly labelers: number;
  /** POSTs. */
  readonly ratePerSecond: number;
  /** For so long before latencies count. */
  readonly warmSeconds: number;
  /** For so long after. */
  readonly seconds: number;
}

/** What it saw. */
export interface ClientReport {
  /** From when each request was due to its acknowledgement. */
  readonly latenciesMs: number[];
  /** Key of each request, and the id that it was acknowledged with. */
  readonly acknowledged: [key: string, id: string][];
  /** Answers that said "stored". */
  readonly stored: number;
  /** Requests that were sent again. */
  readonly again: number;
  /** Answers that said "not now". */
  readonly refused: number;
  /** Until the last answer. */
  readonly seconds: number;
}

/** A request that is never answered is given up after so long: something is wrong then. */
const PATIENCE_MS = 120_000;
const AGAIN_MS = 100;

async function run(task: ClientTask): Promise<ClientReport> {
  const { ratePerSecond, seconds, warmSeconds } = task;
  const counts = { stored: 0, again: 0, refused: 0 };
  const latenciesMs: number[] = [];
  const acknowledged: [string, string][] = [];
  const underWay: Promise<void>[] = [];
  const startMs = performance.now();
  const warm = ratePerSecond * warmSeconds;
  const total = warm + ratePerSecond * seconds;
  for (let sent = 0; sent < total;) {
    const due = Math.min(total, Math.floor((performance.now() - startMs) * ratePerSecond / 1000));
    for (; sent < due; sent++) {
      const dueMs = startMs + 1000 * sent / ratePerSecond;
      underWay.push((async (number) => {
        const key = `${task.client}-${number}`;
        acknowledged.push([key, await deliver(task, { key, number }, counts)]);
        if (number >= warm) latenciesMs.push(performance.now() - dueMs);
      })(sent));
    }
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  await Promise.all(underWay);
  return { ...counts, latenciesMs, acknowledged, seconds: (performance.now() - startMs) / 1000 };
}

/** Sends one until it is acknowledged. @returns its id */
async function deliver(
  { url, client, labelers }: ClientTask,
  { key, number }: { key: string; number: number },
  counts: { stored: number; again: number; refused: number },
): Promise<string> {
  const body = JSON.stringify({
    type: "comparison",
    prompt: `Which of the two is better, asked for the ${number % 500}th time?`,
    candidates: [
      { text: `The first answer to question ${number}, in a sentence or so of text.` },
      {
        text: `Another answer to question ${number}, which is a little longer than the first one.`,
      },
    ],
    comparison: { chosen: number % 2, rejected: 1 - number % 2 },
    labeler: { id: `labeler ${client}-${number % labelers}` },
    presented_order: [0, 1],
    metadata: { key },
  });
  const headers = { "content-type": "application/json", "idempotency-key": key };
  const giveUpMs = performance.now() + PATIENCE_MS;
  for (;;) {
    try {
      const response = await fetch(`${url}/v1/feedback`, { method: "POST", headers, body });
      const answer = await response.json();
      if (response.ok) {
        if (answer.status === "stored") counts.stored++;
        return answer.id;
      }
      if (response.status === 429) counts.refused++;
      else if (response.status < 500) throw new RangeError(JSON.stringify(answer));
    } catch (error) {
      if (error instanceof RangeError) throw error; // else: there is no server now
    }
    if (performance.now() > giveUpMs) throw new RangeError(`${key} is not answered`);
    counts.again++;
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
  }
}

declare const self: Worker;
self.onmessage = async ({ data }: MessageEvent<ClientTask>) => self.postMessage(await run(data));
