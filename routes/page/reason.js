/**
 * The view Reason: a question answered by several paths and their votes.
 *
 * @module
 */
import { postEvents } from "./api.js";
import { BarTable } from "./bars.js";
import { find, h } from "./dom.js";
import { Rows } from "./rows.js";
import { fieldsOf, keepDraft, setUpForm } from "./run_form.js";
import { count, fixed, voteBars } from "./scores.js";
import { percent } from "./tokens.js";
import { compact, linesOf, numberOf, textOf } from "./values.js";

/** @typedef {import("./run_form.js").Run} Run */
/** @typedef {import("../schemas/cot.ts").CotPath} CotPath */
/** @typedef {import("../schemas/cot.ts").CotVotes} CotVotes */
/** @typedef {import("../schemas/cot.ts").CotResult} CotResult */

/** How an answer was found, in words. */
const SOURCES = {
  marker: "after its marker",
  extraction: "asked for",
  last_match: "the last that fits",
  none: "none found",
};

/** @param {() => string | undefined} model the chosen one */
export function setUpReason(model) {
  const form = find("#reason form", HTMLFormElement);
  const onRows = () => form.dispatchEvent(new Event("input"));
  const exemplars = new Rows(find("#c-exemplars", HTMLElement), onRows);
  keepDraft(form, "reason", { exemplars });

  const onChoice = () => {
    const field = fieldsOf(form);
    for (const part of form.querySelectorAll("[data-type], [data-rule]")) {
      if (!(part instanceof HTMLElement)) continue;
      const { type, rule } = part.dataset;
      part.hidden = type ? type !== field("answer_type") : rule !== field("rule");
    }
  };
  form.addEventListener("change", onChoice);
  onChoice();

  setUpForm(form, async ({ signal, say, results }) => {
    exemplars.nameParams();
    const body = bodyOf(form, model(), exemplars.values);
    const view = new ReasonView(Number(numberOf(fieldsOf(form)("samples")) ?? 1));
    let hasBegun = false;
    /** @type {CotResult | undefined} */
    let result;
    try {
      for await (const { event, data } of postEvents("v1/cot", body, { signal })) {
        if (!hasBegun) results.replaceChildren(view.element);
        hasBegun = true;
        if (event === "cot.reasoning.delta") view.write(data.path, data.text);
        if (event === "cot.path.done") view.end(data);
        if (event === "cot.votes") view.vote(data);
        if (event === "cot.done") result = data;
        say(view.status);
      }
    } finally {
      view.close(result);
    }
    if (result === undefined) return "";
    const early = result.early_stopped ? ", stopped early" : "";
    const texts = [
      `${count(result.samples_used, "path")}${early}`,
      count(result.usage.completion_tokens, "token"),
      ...(result.warnings ?? []),
    ];
    return texts.join(" · ");
  });
}

/**
 * @param {HTMLFormElement} form
 * @param {string | undefined} model
 * @param {readonly Record<string, string>[]} exemplars
 * @returns {Record<string, unknown>}
 */
function bodyOf(form, model, exemplars) {
  const field = fieldsOf(form);
  const type = field("answer_type");
  const rule = field("rule");
  return compact({
    model,
    question: field("question"),
    exemplars: exemplars.length > 0 ? exemplars : undefined,
    answer_type: type,
    choices: type === "choice" ? linesOf(field("choices")) : undefined,
    regex: type === "regex" ? textOf(field("regex")) : undefined,
    trigger: textOf(field("trigger")),
    answer_trigger: textOf(field("answer_trigger")),
    self_consistency: {
      samples: numberOf(field("samples")),
      temperature: numberOf(field("temperature")),
      aggregate: field("aggregate"),
      early_stop: rule === "none" ? undefined : {
        rule,
        window: rule === "window" ? numberOf(field("window")) : undefined,
        confidence: rule === "beta" ? numberOf(field("confidence")) : undefined,
      },
    },
    max_reasoning_tokens: numberOf(field("max_reasoning_tokens")),
    stop: linesOf(field("stop")),
    seed: numberOf(field("seed")),
    stream: true,
  });
}

/** Answer, votes and paths. */
class ReasonView {
  /** @type {HTMLElement} */
  element;
  #answer = h("strong", {}, "…");
  #share = h("span");
  #votes = new BarTable({ caption: "Votes", columns: ["Answer", "Share", "Votes"] });
  #paths = h("ol", { class: "paths", "aria-label": "Paths" });
  /** @type {Map<number, PathView>} */
  #views = new Map();
  #samples;
  #ended = 0;

  /** @param {number} samples how many are wanted */
  constructor(samples) {
    this.#samples = samples;
    this.#votes.element.hidden = true;
    this.element = h(
      "section",
      { class: "stack", "aria-label": "Answer" },
      h("p", { class: "answer" }, this.#answer, this.#share),
      this.#votes.element,
      this.#paths,
    );
  }

  get status() {
    return `${this.#ended} of ${count(this.#samples, "path")}…`;
  }

  /**
   * @param {number} path
   * @param {string} text
   */
  write(path, text) {
    this.#view(path).write(text);
  }

  /** @param {CotPath} path */
  end(path) {
    this.#ended++;
    this.#view(path.index).end(path);
  }

  /** @param {CotVotes} votes */
  vote({ answer, votes, confidence }) {
    this.#answer.textContent = answer ?? "no answer yet";
    this.#share.textContent = answer === null ? "" : `${percent(confidence)} of the votes`;
    this.#votes.element.hidden = votes.length === 0;
    this.#votes.show(voteBars(votes));
    for (const view of this.#views.values()) view.compare(answer);
  }

  /** @param {CotResult | undefined} result undefined where it was stopped */
  close(result) {
    if (result?.abstained) this.#answer.textContent = "no answer found";
    if (result === undefined && this.#ended === 0) this.#answer.textContent = "";
    for (const view of this.#views.values()) view.leave();
  }

  /** @param {number} path */
  #view(path) {
    let view = this.#views.get(path);
    if (view === undefined) {
      view = new PathView(path);
      this.#views.set(path, view);
      const after = [...this.#views].filter(([index]) => index > path).sort(([a], [b]) => a - b)[0];
      this.#paths.insertBefore(view.element, after?.[1].element ?? null);
    }
    return view;
  }
}

/** One path. */
class PathView {
  /** @type {HTMLElement} */
  element;
  #title;
  #text = h("p", { class: "text live", tabIndex: 0 });
  #facts = h("p", { class: "facts" });
  /** @type {CotPath | undefined} */
  #path = undefined;
  #number;

  /** @param {number} index */
  constructor(index) {
    this.#number = index + 1;
    this.#title = h("h2", {}, `Path ${this.#number}`);
    this.#text.setAttribute("role", "group");
    this.#text.setAttribute("aria-label", `Reasoning of path ${this.#number}`);
    this.element = h("li", { class: "path" }, this.#title, this.#text, this.#facts);
  }

  /** @param {string} text */
  write(text) {
    this.#text.append(text);
    this.#text.scrollTop = this.#text.scrollHeight;
  }

  /** @param {CotPath} path */
  end(path) {
    this.#path = path;
    this.#text.classList.remove("live");
    this.#text.textContent = path.reasoning.trim();
    this.#facts.replaceChildren(
      h("strong", {}, path.answer ?? "no answer"),
      h("span", {}, SOURCES[path.answer_source]),
      h("span", {}, `${count(path.tokens, "token")}, ${fixed(path.mean_logprob)} each`),
      ...(path.reward === null ? [] : [h("span", {}, `reward ${fixed(path.reward)}`)]),
    );
  }

  /** @param {string | null} answer the one that leads */
  compare(answer) {
    if (this.#path === undefined) return;
    const agrees = answer !== null && this.#path.answer === answer;
    this.element.classList.toggle("agrees", agrees);
    this.#title.textContent = `Path ${this.#number}${agrees ? " · agrees" : ""}`;
  }

  /** It goes on no more. */
  leave() {
    this.#text.classList.remove("live");
    if (this.#path === undefined) this.#facts.replaceChildren("not finished");
  }
}
