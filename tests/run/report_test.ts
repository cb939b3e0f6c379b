import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { DOMParser } from "linkedom";
import { lossChart, lossCurves, thinned } from "../../src/run/loss_chart.ts";
import type { MetricsRecord } from "../../src/run/metrics.ts";
import { reportHtml } from "../../src/run/report.ts";
import { rewardChart, rewardCurves } from "../../src/run/reward_chart.ts";
import { runInfo } from "../support/runs.ts";

/** So many steps, evaluated every tenth one. */
function metricsOf(steps: number): MetricsRecord[] {
  return Array.from({ length: steps }, (_, i) => i + 1).flatMap((step): MetricsRecord[] => [
    { step, "train/loss": 4 / step, lr: 1e-3, tokens_per_second: 1234 },
    ...(step % 10 === 0 ? [{ step, "val/loss": 5 / step, "val/perplexity": 1.5 }] : []),
  ]);
}

/** What the test asks of an element. */
interface Found {
  textContent: string;
  getAttribute(name: string): string | null;
}

/** Points of a curve's path: one M, then an L each. */
function pointCount(path: string): number {
  return path.match(/[ML]/g)!.length;
}

/** Fails unless tags are closed in order and every ampersand begins an entity. */
function assertXml(text: string): void {
  const open: string[] = [];
  const tags = /<(\/?)([\w:-]+)((?:\s+[\w:-]+="[^"<]*")*)\s*(\/?)>/g;
  const rest = text.replaceAll(tags, (_, close, name, _attributes, empty) => {
    if (close) assertEquals(open.pop(), name);
    else if (!empty) open.push(name);
    return "";
  });
  assertEquals(open, []);
  assert(!rest.includes("<"), "what is no tag");
  assert(!/&(?!#\d+;|\w+;)/.test(text), "an ampersand alone");
}

Deno.test("lossChart() draws a point for each loss, in valid XML", async () => {
  const metrics = [...metricsOf(40), { step: 41, "train/loss": null }];
  const svg = await lossChart(lossCurves(metrics), `Loss of <a> & "b"`);
  assertXml(svg);
  assertMatch(svg, /^<svg [^>]*xmlns="http:\/\/www\.w3\.org\/2000\/svg"/);
  assertStringIncludes(svg, 'aria-label="Loss of &lt;a&gt; &amp; &quot;b&quot;"');
  const chart = new DOMParser().parseFromString(svg, "image/svg+xml");
  const found = (selector: string) => [...chart.querySelectorAll(selector) as Iterable<Found>];
  const paths = found("g[aria-label=line] path").map((path) => path.getAttribute("d")!);
  assertEquals(paths.map(pointCount), [40, 4]);
  assertEquals(found("g[aria-label=dot] circle").length, 4);
  const texts = found("text").map((text) => text.textContent);
  for (const text of ["training", "validation", "steps →", "↑ loss (nats a token)", "40"]) {
    assert(texts.includes(text), `${text} in ${texts.join(", ")}`);
  }
  assertStringIncludes(svg, "prefers-color-scheme: dark");
});

Deno.test("lossChart() takes a single point, and one curve of two", async () => {
  for (const count of [1, 5]) {
    const svg = await lossChart(lossCurves(metricsOf(count)), "a");
    assertXml(svg);
    assert(!svg.includes("validation</text>"), "no legend of what is not there");
  }
});

Deno.test("thinned() keeps the ends, the order and the mean", () => {
  const points = lossCurves(metricsOf(10_007)).train;
  const few = thinned(points, 600);
  assertEquals([few.length, few.at(-1)!.step], [600, 10_007]);
  assert(few.every(({ step }, i) => i === 0 || step > few[i - 1]!.step));
  const mean = (values: typeof few) => values.reduce((sum, { loss }) => sum + loss, 0);
  const [want, got] = [mean([...points]) / points.length, mean(few) / few.length];
  assert(Math.abs(got - want) < 0.01 * want, `${got}, ${want}`);
  assertEquals(thinned(points.slice(0, 3)), points.slice(0, 3));
  assertEquals(thinned([]), []);
});

Deno.test("reportHtml() holds all of a run, and escapes what is not its own", async () => {
  const metrics = metricsOf(20);
  const chart = await lossChart(lossCurves(metrics), "a");
  const content = {
    name: "a",
    info: runInfo({
      data: [{ name: `<script>"x"</script>`, sha256: "ab".repeat(32), tokens: 1234567 }],
      config: { model: { layers: 2 }, tokenizer: "char", data: ["a&b.txt"] },
      adapter: { description: "llvmpipe <8>" },
    }),
    metrics,
    checkpoints: [10, 20],
    samples: "Once <upon> a time & more",
    chart,
  };
  const page = reportHtml(content);
  assert(!page.includes("<script>"), "what the data are called");
  for (
    const part of [
      chart,
      "20 steps so far; checkpoints of step 10, 20",
      "<td>10</td><td>0.4000</td><td>0.5000</td><td>1.50</td><td></td><td>0.001000</td><td>1234</td>",
      "<th>model.layers</th><td>2</td>",
      "<th>data</th><td>[&#34;a&#38;b.txt&#34;]</td>",
      "&#60;script&#62;&#34;x&#34;&#60;/script&#62;</th><td>1,234,567 tokens, SHA-256 abab",
      "<th>adapter.description</th><td>llvmpipe &#60;8&#62;</td>",
      `<th>version.deno</th><td>${Deno.version.deno}</td>`,
      "<pre>Once &#60;upon&#62; a time &#38; more</pre>",
    ]
  ) assertStringIncludes(page, part);
  assertEquals(page.match(/(?:src|href)=/g), null, "it needs no other file");
  assertXml(page.replace("<!doctype html>", "").replaceAll(/<meta [^>]*>/g, ""));

  const bare = reportHtml({ ...content, metrics: [], samples: "", checkpoints: [], chart: "" });
  assertStringIncludes(bare, "0 steps so far</p>");
  assertStringIncludes(bare, "None yet.");
  assert(!bare.includes("Samples"));
});

/** Iterations of PPO, evaluated every fifth one. */
function rewardMetrics(steps: number): MetricsRecord[] {
  return Array.from({ length: steps }, (_, i) => i + 1).flatMap((step): MetricsRecord[] => [
    { step, "objective/kl": step / 4, "objective/scores": 1 - 1 / step, "objective/kl_coef": 0.02 },
    ...(step % 5 === 0 ? [{ step, "eval/scores": 0.5, "eval/kl": step / 4, "eval/ended": 1 }] : []),
  ]);
}

Deno.test("rewardChart() draws score against divergence, training and held out", async () => {
  const svg = await rewardChart(rewardCurves(rewardMetrics(20)), "Rewards of a");
  assertXml(svg);
  const chart = new DOMParser().parseFromString(svg, "image/svg+xml");
  assertEquals([...chart.querySelectorAll("g[aria-label=dot] circle")].length, 20 + 4);
  assertStringIncludes(svg, "divergence from the reference (nats a response)");
});

Deno.test("reportHtml() has the columns of a run that learns from rewards", () => {
  const content = { name: "ppo", info: runInfo({ stage: "ppo" }), checkpoints: [], samples: "" };
  const html = reportHtml({ ...content, metrics: rewardMetrics(10), chart: "" });
  assertStringIncludes(html, "<th>divergence</th>");
  assertEquals(html.match(/<td>0\.5000<\/td>/g)!.length, 2);
  assert(!html.includes("perplexity"));
});
