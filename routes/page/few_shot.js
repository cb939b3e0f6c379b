/**
 * The view Few-shot: labels chosen, or texts written, as examples show.
 *
 * @module
 */
import { postEvents, postJson } from "./api.js";
import { BarTable } from "./bars.js";
import { find, h } from "./dom.js";
import { Rows } from "./rows.js";
import { fieldsOf, keepDraft, setUpForm } from "./run_form.js";
import { count, labelBars } from "./scores.js";
import { TokenView } from "./token_view.js";
import { CellReader, percent } from "./tokens.js";
import { compact, linesOf, numberOf, textOf, unescapeText } from "./values.js";

/** @typedef {import("./run_form.js").Run} Run */
/** @typedef {import("../schemas/few_shot.ts").FewShotClass} FewShotClass */
/** @typedef {import("../schemas/few_shot.ts").FewShotPromptBody} FewShotPrompt */
/** @typedef {import("./scores.js").Normalization} Normalization */

/** How many of the likeliest tokens are asked for. */
const TOP = 5;

/** @param {() => string | undefined} model the chosen one */
export function setUpFewShot(model) {
  const form = find("#few-shot form", HTMLFormElement);
  const task = find("#f-task", HTMLSelectElement);
  const normalization = find("#f-normalization", HTMLSelectElement);
  const onRows = () => form.dispatchEvent(new Event("input"));
  const labels = new Rows(find("#f-labels", HTMLElement), onRows);
  const examples = new Rows(find("#f-examples", HTMLElement), onRows);
  labels.values = [{ name: "positive" }, { name: "negative" }];
  examples.values = [
    { input: "I would watch it again.", output: "positive" },
    { input: "Two hours that I will not get back.", output: "negative" },
    { input: "A joy from the first minute.", output: "positive" },
  ];
  keepDraft(form, "few-shot", { labels, examples });
  /** @type {FewShotClass | undefined} */
  let shown;

  const onTask = () => {
    for (const part of form.querySelectorAll("[data-task]")) {
      if (part instanceof HTMLElement) part.hidden = part.dataset.task !== task.value;
    }
    find("#f-labels", HTMLElement).hidden = task.value === "generate";
    const submit = find("button[type=submit]", HTMLElement, form);
    submit.textContent = task.value === "generate" ? "Write" : "Classify";
  };
  task.addEventListener("change", onTask);
  onTask();

  const suggestions = find("#f-label-names", HTMLDataListElement);
  const suggest = () => {
    suggestions.replaceChildren(...labels.values.map(({ name }) => h("option", { value: name })));
  };
  form.addEventListener("input", suggest);
  suggest();

  const results = find(".results", HTMLElement, form);
  const redraw = () => {
    if (shown !== undefined) showClass(results, shown, /** @type {any} */ (normalization.value));
  };
  normalization.addEventListener("change", redraw);

  setUpForm(form, async (run) => {
    labels.nameParams();
    examples.nameParams();
    const body = bodyOf(form, {
      model: model(),
      labels: labels.values.map(({ name }) => name),
      examples: examples.values,
    });
    shown = undefined;
    if (task.value === "generate") return await write(body, run);
    const { signal } = run;
    const startMs = performance.now();
    const answer = await postJson("v1/few-shot", body, { signal });
    [shown] = answer.results;
    redraw();
    const { total_tokens: tokens, prompt_tokens_details: { cached_tokens: cached } } = answer.usage;
    const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
    const warnings = answer.warnings ?? [];
    return [`${tokens} tokens, ${cached} of them shared, in ${seconds} s`, ...warnings].join(" · ");
  });
}

/**
 * @param {HTMLFormElement} form
 * @param {{ model: string | undefined, labels: (string | undefined)[], examples: unknown }} lists
 * @returns {Record<string, unknown>}
 */
function bodyOf(form, { model, labels, examples }) {
  const field = fieldsOf(form);
  const isClassify = field("task") === "classify";
  const affix = (/** @type {string} */ name) => {
    const text = textOf(field(name));
    return text === undefined ? undefined : unescapeText(text);
  };
  const template = {
    input_prefix: affix("input_prefix"),
    input_suffix: affix("input_suffix"),
    output_prefix: affix("output_prefix"),
    separator: affix("separator"),
    format: affix("format"),
  };
  const scoring = {
    normalization: field("normalization"),
    answer_context: affix("answer_context"),
    content_free: linesOf(field("content_free")),
  };
  const selection = {
    k: numberOf(field("k")),
    strategy: field("strategy"),
    balance_labels: field("balance_labels") === "on" ? true : undefined,
    order: field("order"),
    seed: numberOf(field("selection_seed")),
  };
  const writing = {
    max_tokens: numberOf(field("max_tokens")),
    temperature: numberOf(field("temperature")),
    logprobs: TOP,
    stream: true,
    stream_options: { include_usage: true },
  };
  return compact({
    model,
    task: field("task"),
    instruction: textOf(field("instruction")),
    examples,
    input: field("input"),
    template,
    selection,
    overflow: field("overflow"),
    return_prompt: true,
    ...(isClassify ? { labels, scoring } : writing),
  });
}

/**
 * @param {HTMLElement} results
 * @param {FewShotClass} result
 * @param {Normalization} normalization
 */
function showClass(results, result, normalization) {
  const bars = labelBars(result.scores, normalization);
  const [best] = bars;
  const head = h(
    "p",
    { class: "answer" },
    h("strong", {}, best?.name ?? "–"),
    h("span", {}, best ? percent(best.share) : "this score was not asked for"),
  );
  const table = new BarTable({
    caption: "Labels, the likeliest first",
    columns: ["Label", "Share", "Log-probability"],
  });
  table.show(bars);
  const pCf = result.calibration?.p_cf.map((share, index) => {
    return `${result.scores[index]?.label} ${percent(share)}`;
  });
  results.replaceChildren(
    h(
      "section",
      { "aria-label": "Label" },
      head,
      table.element,
      pCf && h("p", { class: "facts" }, `Where the input says nothing: ${pCf.join(", ")}`),
    ),
    promptOf(result.prompt),
  );
}

/**
 * @param {FewShotPrompt} prompt
 * @returns {HTMLElement}
 */
function promptOf({ text, tokens, shots_used, shots_dropped }) {
  const dropped = shots_dropped > 0 ? `, ${shots_dropped} left out` : "";
  const summary = `The prompt: ${count(tokens, "token")}, ${
    count(shots_used, "example")
  }${dropped}`;
  const label = "The prompt";
  return h(
    "details",
    {},
    h("summary", {}, summary),
    h("pre", { tabIndex: 0, role: "region", "aria-label": label }, text ?? ""),
  );
}

/**
 * @param {Record<string, unknown>} body
 * @param {Run} run
 * @returns {Promise<string>}
 */
async function write(body, { signal, say, results }) {
  const view = new TokenView({ label: "Output", isTinted: true });
  const reader = new CellReader();
  let tokens = 0;
  /** @type {any} */
  let reason = null;
  /** @type {string[]} */
  let warnings = [];
  let hasBegun = false;
  try {
    for await (const { data } of postEvents("v1/few-shot", body, { signal })) {
      if (!hasBegun) results.replaceChildren(view.element);
      hasBegun = true;
      if (data.warnings) warnings = data.warnings;
      for (const { text, logprobs, finish_reason } of data.results) {
        view.push(reader.push(text, logprobs), reader.rest);
        tokens += logprobs?.tokens.length ?? 0;
        reason ??= finish_reason;
      }
      if (data.prompts) results.append(promptOf(data.prompts[0]));
      say(`${count(tokens, "token")}…`);
    }
  } finally {
    view.push(reader.end(), reader.rest);
    view.finish(reason);
  }
  return [count(tokens, "token"), ...warnings].join(" · ");
}
