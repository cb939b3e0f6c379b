/**
 * The report card of a road: Markdown, HTML and the numbers as JSON. It is drawn anew after every
 * stage, so that what was found is there even if a later stage fails; it has no times in it, so
 * that an interrupted road ends in the same card.
 *
 * @module
 */
import { join } from "node:path";
import { writeFileAtomic } from "../../run/atomic.ts";
import { Markup, markup, PAGE_STYLE } from "../../run/markup.ts";
import { chartsOf } from "./card_charts.ts";
import { collect } from "./card_data.ts";
import { type Section, sectionsOf } from "./card_sections.ts";
import { checksOf } from "./checks.ts";
import type { Road } from "./context.ts";

/** Where a card was written. */
export interface CardFiles {
  /** A page that needs nothing else. */
  readonly html: string;
  /** With its charts beside it. */
  readonly markdown: string;
}

/** Draws the card of what was found so far. */
export async function writeCard(
  road: Road,
  failures: ReadonlyMap<string, { line: string }>,
): Promise<CardFiles> {
  const data = await collect(road, failures);
  const sections = sectionsOf(data);
  const charts = await chartsOf(data);
  const file = (name: string) => join(road.path, name);
  for (const [name, svg] of charts) await writeFileAtomic(file(`${name}.svg`), svg);
  const title = `Report card of ${road.name}`;
  await writeFileAtomic(file("report.md"), cardMarkdown(title, sections));
  await writeFileAtomic(file("report.html"), cardHtml(title, sections, charts));
  const checks = checksOf(data).map((check) => ({ ...check, held: check.held ?? null }));
  await writeFileAtomic(file("report.json"), JSON.stringify({ checks, sections }, null, 2) + "\n");
  return { html: file("report.html"), markdown: file("report.md") };
}

/**
 * The card as Markdown.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * const table = { head: ["a", "b"], rows: [["1 | 2", "3"]] };
 * const text = cardMarkdown("T", [{ title: "S", text: ["x"], table }]);
 * assertEquals(text, "# T\n\n## S\n\nx\n\n| a | b |\n| --- | --- |\n| 1 \\| 2 | 3 |\n");
 * ```
 */
export function cardMarkdown(title: string, sections: readonly Section[]): string {
  const row = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll("|", "\\|").replaceAll(/\s+/g, " ")).join(" | ")} |`;
  const parts = sections.flatMap(({ title, text, table, chart }) => [
    `## ${title}`,
    ...text,
    ...(table
      ? [[row(table.head), row(table.head.map(() => "---")), ...table.rows.map(row)].join("\n")]
      : []),
    ...(chart === undefined ? [] : [`![${title}](${chart}.svg)`]),
  ]);
  return [`# ${title}`, ...parts].join("\n\n") + "\n";
}

/** The card as a page, charts and all. */
export function cardHtml(
  title: string,
  sections: readonly Section[],
  charts: ReadonlyMap<string, string>,
): string {
  const body = sections.map(({ title, text, table, chart }) => {
    const svg = chart === undefined ? undefined : charts.get(chart);
    return markup`<h2>${title}</h2>
${text.map((paragraph) => markup`<p>${paragraph}</p>\n`)}${table ? tableOf(table) : ""}${
      svg === undefined ? "" : new Markup(svg)
    }\n`;
  });
  return markup`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${title}</title>
<style>${new Markup(PAGE_STYLE)}${new Markup(".card td, .card th { text-align: left; }")}</style>
</head>
<body>
<h1>${title}</h1>
${body}</body>
</html>
`.text;
}

function tableOf({ head, rows }: NonNullable<Section["table"]>): Markup {
  const cells = (row: readonly string[]) => row.map((cell) => markup`<td>${cell}</td>`);
  return markup`<table class="card">
<tr>${head.map((cell) => markup`<th>${cell}</th>`)}</tr>
${rows.map((row) => markup`<tr>${cells(row)}</tr>\n`)}</table>
`;
}
