import { assertEquals, assertThrows } from "@std/assert";
import { Plan } from "../../src/gpu/plan.ts";
import type { ShardedParameter } from "../../src/gpu/tensor.ts";
import { bucketsLength, buildBuckets } from "../../src/ops/buckets.ts";
import { embedding, type EmbeddingOptions } from "../../src/ops/embedding.ts";
import { embeddingBackward, embeddingForward } from "../reference/embedding.ts";
import { assertClose } from "../support/close.ts";
import { OpScope, opTest, sum } from "../support/op.ts";
import { integers, normal } from "../support/random.ts";
import { poison, uploadHalves } from "../support/gpu.ts";
import { TOLERANCE } from "../support/tolerance.ts";

interface Case {
  B: number;
  T: number;
  C: number;
  V: number;
  Tmax: number;
  ids: Uint32Array;
  /** First row of each window of the vocabulary. */
  cuts?: number[];
  positions?: Uint32Array;
  capacity?: number;
}

/** wte in windows, its rows and gradients as one array each. */
function table(scope: OpScope, { V, C, cuts = [0] }: Case): ShardedParameter {
  const [value, grad] = [normal(1, V * C), normal(2, V * C)];
  const windows = cuts.map((rowStart, i) => {
    const end = cuts[i + 1] ?? V;
    const part = (x: Float32Array) => x.slice(rowStart * C, end * C);
    const rows = end - rowStart;
    return { ...scope.parameter(`wte${i}`, [rows, C], part(value), part(grad)), rowStart, rows };
  });
  return { shape: [V, C], windows };
}

async function check(scope: OpScope, c: Case): Promise<void> {
  const { B, T, C, V, Tmax, ids, positions, capacity = B * T } = c;
  const { device } = scope;
  const [wpeData, wpeGrad, dout] = [normal(3, Tmax * C), normal(4, Tmax * C), normal(5, B * T * C)];
  const wte = table(scope, c);
  const wpe = scope.parameter("wpe", [Tmax, C], wpeData, wpeGrad);
  const options: EmbeddingOptions = {
    buckets: scope.upload("buckets", [bucketsLength(capacity)], buildBuckets(ids, capacity)),
  };
  if (positions) {
    options.positions = scope.upload("positions", [B, T], positions);
    const built = buildBuckets(positions);
    options.positionBuckets = scope.upload("positionBuckets", [built.length], built);
  }
  const out = embedding(scope.plan, scope.upload("ids", [B, T], ids), { wte, wpe }, options);
  assertEquals(out.shape, [B, T, C]);
  await scope.run(out, dout);
  const forward = embeddingForward(ids, normal(1, V * C), wpeData, { B, T, C, positions });
  assertClose(await device.read(out), forward, { ...TOLERANCE.embedding, label: "out" });
  const { dwte, dwpe } = embeddingBackward(dout, ids, { B, T, C, Vp: V, maxT: Tmax, positions });
  const grads = await Promise.all(wte.windows.map(({ grad }) => device.read(grad!)));
  const got = Float32Array.from(grads.flatMap((grad) => [...grad]));
  assertClose(got, sum(normal(2, V * C), dwte), { ...TOLERANCE.embedding, label: "dwte" });
  assertClose(await device.read(wpe.grad!), sum(wpeGrad, dwpe), {
    ...TOLERANCE.embedding,
    label: "dwpe",
  });
}

const ids = (B: number, T: number, V: number) => integers(9, B * T, V);

const CASES: [string, Case][] = [
  ["(1, 1, 1)", { B: 1, T: 1, C: 1, V: 1, Tmax: 1, ids: ids(1, 1, 1) }],
  ["(3, 7, 129) with unused rows", { B: 3, T: 7, C: 129, V: 50, Tmax: 9, ids: ids(3, 7, 50) }],
  ["(2, 5, 1757)", { B: 2, T: 5, C: 1757, V: 4, Tmax: 5, ids: ids(2, 5, 4) }],
  ["(12, 64, 128), characters", { B: 12, T: 64, C: 128, V: 65, Tmax: 64, ids: ids(12, 64, 65) }],
  ["(4, 16, 20) of one token", { B: 4, T: 16, C: 20, V: 65, Tmax: 16, ids: ids(4, 16, 1) }],
  ["(3, 7, 20) in three windows", {
    ...{ B: 3, T: 7, C: 20, V: 50, Tmax: 7, ids: ids(3, 7, 50) },
    cuts: [0, 16, 33],
  }],
  ["(3, 7, 5) in two windows", {
    ...{ B: 3, T: 7, C: 5, V: 50, Tmax: 7, ids: ids(3, 7, 50) },
    cuts: [0, 48],
  }],
  ["(3, 7, 20) at given positions", {
    ...{ B: 3, T: 7, C: 20, V: 50, Tmax: 30, ids: ids(3, 7, 50) },
    positions: integers(8, 21, 30),
  }],
  ["(3, 7, 20) with room in the buckets", {
    ...{ B: 3, T: 7, C: 20, V: 50, Tmax: 7, ids: ids(3, 7, 50) },
    capacity: 40,
  }],
];

for (const [name, c] of CASES) {
  opTest(`embedding() matches the reference at ${name}`, (scope) => check(scope, c));
}
for (const name of ["(3, 7, 129) with unused rows", "(12, 64, 128), characters"]) {
  const [, c] = CASES.find(([known]) => known === name)!;
  opTest(`embedding() without subgroups matches the reference at ${name}`, (scope) => {
    return check(scope, c);
  }, { subgroups: false });
}

opTest("embedding() without wpe, of an id in no window, gives zeros", async (scope, device) => {
  const c: Case = { B: 1, T: 3, C: 4, V: 5, Tmax: 1, ids: Uint32Array.of(4, 99, 0), cuts: [0, 2] };
  const wte = table(scope, c);
  for (const window of wte.windows) delete (window as { grad?: unknown }).grad;
  const out = embedding(scope.plan, scope.upload("ids", [1, 3], c.ids), { wte });
  await scope.run(out);
  const rows = normal(1, c.V * c.C);
  assertEquals([...await device.read(out)], [...rows.slice(16), 0, 0, 0, 0, ...rows.slice(0, 4)]);
});

for (const subgroups of [true, false]) {
  const kind = subgroups ? "" : " without subgroups";
  opTest(`embedding() of halves${kind} is the sum of rounded rows`, async (scope, device) => {
    for (const [T, C, V, Tmax] of [[7, 20, 50, 9], [3, 5, 9, 4], [1, 6, 1, 1]] as const) {
      const [wte, wpe] = [normal(1, V * C), normal(2, Tmax * C)];
      const list = ids(2, T, V);
      const cut = Math.min(16, V);
      const window = (rowStart: number, end: number) => {
        const rows = end - rowStart;
        const part = scope.own(uploadHalves(device, "wte", wte.slice(rowStart * C, end * C)));
        return { value: part.view("wte", [rows, C]), rowStart, rows };
      };
      const windows = [window(0, cut), ...cut < V ? [window(cut, V)] : []];
      const value = scope.own(uploadHalves(device, "wpe", wpe));
      const plan = scope.own(new Plan(device, { label: "halves" }));
      const parameters = { wte: { shape: [V, C] as const, windows } };
      const table = { value: value.view("wpe", [Tmax, C]) };
      const inputs = scope.upload("ids", [2, T], list);
      const both = plan.keep(embedding(plan, inputs, { ...parameters, wpe: table }));
      const alone = plan.keep(embedding(plan, inputs, parameters));
      await plan.seal();
      for (const out of [both, alone]) poison(device, out);
      plan.replay();
      const at = (n: number, c: number) => Math.f16round(wte[list[n]! * C + c]!);
      const rows = Float32Array.from({ length: 2 * T * C }, (_, i) => at(Math.floor(i / C), i % C));
      const sums = rows.map((x, i) => x + Math.f16round(wpe[i % (T * C)]!));
      assertEquals(await device.read(alone), rows);
      assertEquals(await device.read(both), sums);
    }
  }, { subgroups });
}

opTest("embedding() sums in the same order every time", async (_, device) => {
  const [B, T, C, V] = [12, 64, 20, 7];
  const grads: Uint8Array[] = [];
  for (let run = 0; run < 2; run++) {
    const inner = new OpScope(device);
    try {
      const wte = table(inner, { B, T, C, V, Tmax: T, ids: ids(B, T, V) });
      const built = buildBuckets(ids(B, T, V));
      const buckets = inner.upload("buckets", [built.length], built);
      const out = embedding(inner.plan, inner.upload("ids", [B, T], ids(B, T, V)), { wte }, {
        buckets,
      });
      await inner.run(out, normal(5, B * T * C));
      grads.push(new Uint8Array((await device.read(wte.windows[0]!.grad!)).buffer));
    } finally {
      inner.destroy();
    }
  }
  assertEquals(grads[0], grads[1]);
});

opTest("embedding() says what does not fit", (scope) => {
  const c: Case = { B: 2, T: 4, C: 4, V: 8, Tmax: 4, ids: ids(2, 4, 8) };
  const wte = table(scope, c);
  const idsTensor = scope.upload("ids", [2, 4], c.ids);
  const wpe = scope.parameter("wpe", [3, 4], normal(1, 12), normal(1, 12));
  const buckets = scope.upload("buckets", [bucketsLength(8)], buildBuckets(c.ids));
  const refuse = (message: string, run: () => void) =>
    assertThrows(run, RangeError, `Cannot record embedding: ${message}`);
  refuse('"ids" (B, T) of u32: got (8) of u32', () => {
    embedding(scope.plan, scope.upload("ids", [8], c.ids), { wte }, { buckets });
  });
  refuse('T at most 3, the rows of "wpe": got 4', () => {
    embedding(scope.plan, idsTensor, { wte, wpe }, { buckets });
  });
  refuse("buckets for the gradient of wte: got none", () => {
    embedding(scope.plan, idsTensor, { wte });
  });
  refuse("positionBuckets for the gradient of wpe: got none", () => {
    embedding(scope.plan, idsTensor, { wte, wpe }, { buckets, positions: idsTensor });
  });
  refuse("windows of wte that cover its 9 rows in order: they do not", () => {
    embedding(scope.plan, idsTensor, { wte: { ...wte, shape: [9, 4] } }, { buckets });
  });
  return Promise.resolve();
});
