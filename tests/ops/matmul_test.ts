import { assertEquals, assertThrows } from "@std/assert";
import type { Device, OpenOptions } from "../../src/gpu/device.ts";
import { Plan } from "../../src/gpu/plan.ts";
import { type Layout, matmulNn, matmulNt, matmulTn, type Product } from "../../src/ops/matmul.ts";
import { gpuTest, testDevice } from "../support/gpu.ts";
import { bits, check, inputs, type ProductCase as Case, run } from "../support/product.ts";
import { uniform } from "../support/random.ts";

const LAYOUTS: readonly Layout[] = ["nn", "nt", "tn"];

// [M, K, N]: vec4 kernels need multiples of 4 in some of them, the portable one takes the rest.
const SHAPES = [
  [1, 1, 1],
  [3, 7, 5],
  [5, 129, 33],
  [33, 64, 65],
  [64, 100, 36],
  [70, 41, 132],
  [2, 1757, 12],
] as const;

const KINDS: readonly (readonly [string, OpenOptions])[] = [
  ["", {}],
  [" without subgroups", { subgroups: false }],
  [" with a GPU's kernels", { tuning: "gpu" }],
  [" with a GPU's fast kernels", { tuning: "gpu", fast: true }],
];

for (const [kind, options] of KINDS) {
  for (const layout of LAYOUTS) {
    const name = `matmul_${layout}()`;

    gpuTest(`${name} matches the reference${kind}`, async (device) => {
      for (const [M, K, N] of SHAPES) {
        await check(device, { layout, M, N, K });
        await check(device, { layout, M, N, K, accumulate: true });
      }
    }, options);

    gpuTest(`${name} reads and writes column ranges${kind}`, async (device) => {
      // A window amid wider rows: of whole vectors, ending in part of one, and not aligned at all.
      for (
        const [aMargin, outMargin, M, K, N] of [
          [[4, 8], [8, 12], 37, 68, 72],
          [[4, 7], [8, 8], 13, 13, 20],
          [[4, 2], [4, 3], 38, 66, 29],
          [[3, 2], [1, 5], 9, 20, 24],
        ] as const
      ) {
        const margins = { aMargin: [...aMargin], outMargin: [...outMargin] } as const;
        const test = { layout, M, N, K, ...structuredClone(margins) } as Case;
        await check(device, test);
        await check(device, { ...test, accumulate: true });
      }
    }, options);
  }

  gpuTest(`matmulNn() adds bias, residual and GELU${kind}`, async (device) => {
    for (const [M, K, N] of [[1, 24, 40], [3, 7, 5], [35, 20, 68]] as const) {
      const test: Case = { layout: "nn", M, N, K, bias: true };
      await check(device, test);
      await check(device, { ...test, residual: true });
      await check(device, { ...test, residual: true, bias: false, outMargin: [4, 8] });
      await check(device, { ...test, gelu: "tanh", outMargin: [8, 4] });
      await check(device, { ...test, gelu: "erf", bias: false });
    }
  }, options);

  for (const layout of ["nn", "nt"] as const) {
    gpuTest(`matmul_${layout}() of halves matches the reference${kind}`, async (device) => {
      for (const [M, K, N] of SHAPES) {
        await check(device, { layout, M, N, K, f16: true });
        await check(device, { layout, M, N, K, f16: true, accumulate: true });
      }
      const wide: Case = { layout, M: 38, K: 66, N: 29, aMargin: [4, 2], outMargin: [4, 3] };
      await check(device, { ...wide, f16: true });
      const whole: Case = { layout, M: 37, K: 68, N: 72, aMargin: [4, 8], outMargin: [8, 12] };
      await check(device, { ...whole, f16: true });
      if (layout === "nt") return;
      const layer: Case = { layout, M: 3, K: 24, N: 40, bias: true, f16: true };
      await check(device, { ...layer, residual: true });
      await check(device, { ...layer, M: 35, gelu: "tanh" });
    }, options);
  }

  gpuTest(`matmulTn() sums the columns of b too${kind}`, async (device) => {
    for (const [M, K, N] of [[1, 30, 12], [40, 131, 68], [5, 7, 3]] as const) {
      await check(device, { layout: "tn", M, N, K, columnSum: true, accumulate: true });
    }
  }, options);
}

for (const layout of LAYOUTS) {
  gpuTest(`matmul_${layout}() shares terms among workgroups`, async (device) => {
    // Slices of whole and of broken sixteens, and more slices than terms fill.
    for (const [M, K, N] of [[70, 1030, 36], [24, 2112, 132]] as const) {
      const test: Case = { layout, M, N, K, sharesTerms: true };
      if (layout !== "tn") test.aMargin = [0, (4 - K % 4) % 4];
      else test.aMargin = [0, (4 - M % 4) % 4];
      if (layout === "nt" && K % 4 !== 0) continue;
      const { labels } = await run(device, test);
      assertEquals(labels, [`matmul_tile_${layout}`, "matmul_slices"]);
      await check(device, test);
      await check(device, {
        ...test,
        accumulate: true,
        outMargin: [4, 8],
        columnSum: layout === "tn",
      });
    }
  }, { tuning: "gpu" });

  gpuTest(`matmul_${layout}() of many rows and columns takes larger tiles`, async (device) => {
    await check(device, { layout, M: 1088, N: 2048, K: 20 });
  }, { tuning: "gpu" });
}

// [M, K, N] of products that a processor computes from copies in textures; the first has factors of
// more than a row of one, the second parts of vec4s at every end that may have them.
const COPIED = [[136, 264, 140], [157, 70, 132], [66, 36, 200]] as const;

/**
 * Whether a product was computed from textures where it should be: with the lanes of a processor.
 */
function assertCopied(device: Device, labels: readonly string[], name: string): void {
  const isProcessor = device.lanes > 0 && device.lanes <= 16;
  assertEquals(
    labels.some((label) => label.endsWith("_texture")),
    isProcessor,
    `${name}: ${labels}`,
  );
}

gpuTest("matmul from textures matches the reference", async (device) => {
  for (const layout of LAYOUTS) {
    for (const [M, K, N] of COPIED) {
      // Rows of a are whole vec4s; those of nt's b, too.
      const k = layout === "nt" ? K - K % 4 : K;
      const aMargin: Case["aMargin"] = [4, (4 - (layout === "tn" ? M : k) % 4) % 4];
      const test: Case = { layout, M, K: k, N, aMargin, outMargin: [4, 8] };
      assertCopied(device, (await run(device, test)).labels, `${layout} ${M} ${k} ${N}`);
      await check(device, test);
      await check(device, { ...test, accumulate: true, columnSum: layout === "tn" });
    }
  }
  const layer: Case = { layout: "nn", M: 130, K: 68, N: 132, bias: true };
  await check(device, { ...layer, residual: true });
  await check(device, { ...layer, gelu: "tanh" });
  await check(device, { ...layer, gelu: "erf", bias: false });
});

gpuTest("matmul from textures has the bits of matmul from buffers", async (device) => {
  const portable = await testDevice({ subgroups: false });
  for (const layout of LAYOUTS) {
    const [M, K, N] = COPIED[0];
    const test: Case = { layout, M, K, N, columnSum: layout === "tn" };
    const [one, other] = [await run(device, test), await run(portable, test)];
    assertCopied(device, one.labels, layout);
    assertEquals(bits(one.out), bits(other.out), layout);
    if (test.columnSum) assertEquals(bits(one.columnSum!), bits(other.columnSum!), layout);
  }
});

for (const f16 of [false, true]) {
  const suffix = f16 ? " of halves" : "";
  gpuTest(`a row has the same bits alone and among others${suffix}`, async (device) => {
    const [K, N] = [260, 136];
    for (const layout of ["nn", "nt"] as const) {
      for (const gelu of layout === "nn" ? [undefined, "tanh"] as const : [undefined]) {
        const test = { layout, N, K, f16, bias: layout === "nn", ...(gelu ? { gelu } : {}) };
        const all = inputs({ ...test, M: 70 });
        const want = await run(device, { ...test, M: 70 }, all);
        for (const [start, M] of [[0, 1], [69, 1], [3, 4], [33, 7], [16, 16], [5, 32]] as const) {
          const a = all.a.slice(start * K, (start + M) * K);
          const got = await run(device, { ...test, M }, { ...all, a, aRows: M });
          assertEquals(
            bits(got.out),
            bits(want.out.slice(start * N, (start + M) * N)),
            `${layout}: rows ${start} to ${start + M} by ${got.labels} and ${want.labels}`,
          );
        }
      }
    }
  });

  gpuTest(`a row has the same bits where b is too large for a cache${suffix}`, async (device) => {
    const N = f16 ? 4096 : 2048; // 32 MiB
    const test: Case = { layout: "nn", M: 1, K: 4098, N, aMargin: [0, 2], f16 };
    const given = { ...inputs({ ...test, K: 1 }), b: uniform(2, test.K * N) };
    const a = uniform(1, 5 * test.K);
    const want = await run(device, { ...test, M: 5 }, { ...given, a, aRows: 5 });
    const got = await run(device, test, { ...given, a: a.slice(4 * test.K), aRows: 1 });
    assertEquals(
      bits(got.out),
      bits(want.out.slice(4 * test.N)),
      `${got.labels} and ${want.labels}`,
    );
  });
}

/** Layouts, and whether b is halves. */
const STORED = [["nn", false], ["nt", false], ["tn", false], ["nn", true], ["nt", true]] as const;

gpuTest("variants give the same bits with and without subgroups", async (device) => {
  const others = [await testDevice({ subgroups: false }), await testDevice({ tuning: "gpu" })];
  for (const [layout, f16] of STORED) {
    // 133 columns: nt splits off the last; 3 terms of K reach beyond the last vec4.
    for (const [M, K, N] of [[70, 263, 136], [70, 264, 133], [3, 264, 133]] as const) {
      const margin: Case["aMargin"] = layout === "tn" ? [0, (4 - M % 4) % 4] : [0, (4 - K % 4) % 4];
      const outMargin: Case["outMargin"] = [0, (4 - N % 4) % 4];
      const test: Case = { layout, M, K, N, aMargin: margin, outMargin, f16 };
      if (layout === "tn") test.columnSum = true;
      const one = await run(device, test);
      for (const kind of others) {
        const other = await run(kind, test);
        const label = `${layout}${
          f16 ? " of halves" : ""
        } (${M}, ${K}, ${N}) by ${one.labels} and ${other.labels}`;
        assertEquals(bits(one.out), bits(other.out), label);
        if (test.columnSum) assertEquals(bits(one.columnSum!), bits(other.columnSum!), label);
      }
    }
  }
});

gpuTest("matmul throws on tensors that are too small and options that exclude", (device) => {
  const plan = new Plan(device, { label: "broken" });
  const tensor = (count: number) => plan.activation("t", [count]);
  const product: Product = { a: tensor(12), b: tensor(20), out: tensor(15), M: 3, N: 5, K: 4 };
  matmulNn(plan, product);
  assertThrows(() => matmulNn(plan, { ...product, M: 4 }), RangeError, `"t" of 16 elements`);
  assertThrows(() => matmulNt(plan, { ...product, b: tensor(19) }), RangeError, "20 elements");
  assertThrows(() => matmulTn(plan, { ...product, out: tensor(14) }), RangeError, "15 elements");
  const halves = plan.activation("halves", [20], "f16");
  matmulNn(plan, { ...product, b: halves });
  const wrong = `"b" (tensor "halves") of f32: got f16`;
  assertThrows(() => matmulTn(plan, { ...product, M: 3, b: halves }), RangeError, wrong);
  assertThrows(() => matmulNn(plan, { ...product, lda: 3 }), RangeError, "within lda = 3");
  assertThrows(
    () => matmulNn(plan, { ...product, residual: tensor(15), gelu: "erf" }),
    RangeError,
    "more than one",
  );
  plan.destroy();
  return Promise.resolve();
});
