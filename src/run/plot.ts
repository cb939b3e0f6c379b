/**
 * Charts as SVG documents, for light and dark pages.
 *
 * @module
 */
import type { Markish, PlotOptions } from "@observablehq/plot";

/** The library; it is loaded when a chart is drawn. */
type PlotLibrary = typeof import("@observablehq/plot");

const STYLE = `.loss-chart { color: #1f2328; background: #ffffff; }
@media (prefers-color-scheme: dark) { .loss-chart { color: #e6edf3; background: #0d1117; } }`;

/**
 * Draws a chart.
 *
 * @returns a whole SVG document without an XML declaration
 *
 * @ignore its types are the library's
 */
export async function drawSvg(
  title: string,
  options: (Plot: PlotLibrary) => PlotOptions,
): Promise<string> {
  // Here, not above: they take a fifth of a second to load, and training does not wait for them.
  const [Plot, { DOMParser }] = await Promise.all([
    import("@observablehq/plot"),
    import("linkedom"),
  ]);
  const document = new DOMParser().parseFromString("<svg/>", "image/svg+xml");
  const chart = Plot.plot({
    document,
    className: "loss-chart",
    ariaLabel: title,
    width: 760,
    height: 420,
    marginTop: 28,
    marginLeft: 56,
    marginBottom: 44,
    style: { fontSize: "12px" },
    ...options(Plot),
  });
  chart.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  chart.setAttribute("role", "img");
  const style = chart.querySelector("style");
  if (style) style.textContent += `\n${STYLE}\n`;
  return chart.outerHTML + "\n";
}

/**
 * A line of a legend at the top right.
 *
 * @ignore its types are the library's
 */
export function legend(Plot: PlotLibrary, text: string, fill: string, dy: number): Markish {
  return Plot.text([text], { frameAnchor: "top-right", dy, fill, fontSize: 13, fontWeight: 600 });
}
