/**
 * The view Write: a text goes on, or a chat is answered.
 *
 * @module
 */
import { postEvents } from "./api.js";
import { find, h } from "./dom.js";
import { fieldsOf, keepDraft, setUpForm } from "./run_form.js";
import { TokenView } from "./token_view.js";
import { CellReader, ChatCellReader } from "./tokens.js";
import { compact, linesOf, numberOf } from "./values.js";

/** @typedef {import("./run_form.js").Run} Run */
/** @typedef {{ role: "user" | "assistant", content: string }} Message */

/** How many of the likeliest tokens are asked for: as many as completions may have. */
const TOP = 5;

/** @param {() => string | undefined} model the chosen one */
export function setUpWrite(model) {
  const form = find("#write form", HTMLFormElement);
  const prompt = find("#w-prompt", HTMLTextAreaElement);
  const mode = find("#w-mode", HTMLSelectElement);
  const submit = find("button[type=submit]", HTMLButtonElement, form);
  keepDraft(form, "write");
  const chat = new Chat(form, prompt);

  const onMode = () => {
    const isChat = mode.value === "chat";
    prompt.dataset.param = isChat ? "messages" : "prompt";
    find("label[for=w-prompt]", HTMLElement).textContent = isChat ? "Message" : "Prompt";
    submit.textContent = isChat ? "Send" : "Write";
    chat.show(isChat);
  };
  mode.addEventListener("change", onMode);
  onMode();

  const tint = find("#w-tint", HTMLInputElement);
  tint.addEventListener("change", () => {
    for (const text of form.querySelectorAll(".written")) {
      text.classList.toggle("tinted", tint.checked);
    }
  });

  setUpForm(form, (run) => {
    const body = settingsOf(form, model());
    if (mode.value === "chat") return chat.send(body, run, tint.checked);
    return complete({ ...body, prompt: prompt.value, logprobs: TOP }, run, {
      isTinted: tint.checked,
      onNext: (text) => {
        prompt.value = prompt.value + text;
        prompt.focus();
        prompt.setSelectionRange(prompt.value.length, prompt.value.length);
        prompt.dispatchEvent(new Event("input", { bubbles: true }));
      },
    });
  });
}

/**
 * @param {HTMLFormElement} form
 * @param {string | undefined} model
 * @returns {Record<string, unknown>}
 */
function settingsOf(form, model) {
  const field = fieldsOf(form);
  const numbers = [
    "max_tokens",
    "temperature",
    "top_p",
    "top_k",
    "seed",
    "n",
    "min_p",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
  ];
  return compact({
    model,
    ...Object.fromEntries(numbers.map((name) => [name, numberOf(field(name))])),
    stop: linesOf(field("stop")),
    stream: true,
    stream_options: { include_usage: true },
  });
}

/**
 * @param {Record<string, unknown> & { prompt: string }} body
 * @param {Run} run
 * @param {{ isTinted: boolean, onNext: (text: string) => void }} options
 * @returns {Promise<string>}
 */
async function complete(body, { signal, say, results }, { isTinted, onNext }) {
  /** @type {Map<number, { view: TokenView, reader: CellReader }>} */
  const texts = new Map();
  const clock = new Clock();
  /** @type {string[]} */
  let warnings = [];
  const textOf = (/** @type {number} */ index) => {
    let text = texts.get(index);
    if (text === undefined) {
      const label = body.n === undefined || body.n === 1 ? "Text" : `Text ${index + 1}`;
      const given = body.prompt.slice(-GIVEN);
      text = { view: new TokenView({ label, given, isTinted }), reader: new CellReader() };
      if (texts.size === 0) results.replaceChildren();
      texts.set(index, text);
      const sorted = [...texts].sort(([a], [b]) => a - b).map(([, { view }]) => view.element);
      results.append(...sorted);
    }
    return text;
  };
  /** @param {number} index @param {any} reason */
  const finish = (index, reason) => {
    const { view, reader } = textOf(index);
    view.push(reader.end(), reader.rest);
    view.finish(reason, { label: "Go on from here", act: () => onNext(view.text) });
  };
  const open = new Set();
  try {
    for await (const { data } of postEvents("v1/completions", body, { signal })) {
      if (data.warnings) warnings = data.warnings;
      for (const { index, text, logprobs, finish_reason: reason } of data.choices) {
        const { view, reader } = textOf(index);
        open.add(index);
        view.push(reader.push(text, logprobs), reader.rest);
        clock.count(logprobs?.tokens.length ?? 0);
        if (reason === null) continue;
        open.delete(index);
        finish(index, reason);
      }
      say(clock.status);
    }
  } finally {
    for (const index of open) finish(index, null);
  }
  return [clock.total, ...warnings].join(" · ");
}

/** How much of the prompt is shown before the text, in UTF-16 units. */
const GIVEN = 160;

/** Counts tokens, and says how fast they come. */
class Clock {
  #tokens = 0;
  #startMs = performance.now();
  #firstMs = 0;

  /** @param {number} tokens */
  count(tokens) {
    if (this.#tokens === 0) this.#firstMs = performance.now();
    this.#tokens += tokens;
  }

  get status() {
    return `${this.#tokens} tokens…`;
  }

  get total() {
    const nowMs = performance.now();
    const rate = (this.#tokens - 1) / (nowMs - this.#firstMs) * 1000;
    const speed = Number.isFinite(rate) && rate > 0 ? ` · ${Math.round(rate)} tokens/s` : "";
    return `${this.#tokens} tokens in ${((nowMs - this.#startMs) / 1000).toFixed(1)} s${speed}`;
  }
}

/** A conversation. */
class Chat {
  /** @type {Message[]} */
  #messages = [];
  #prompt;
  #transcript;
  #results;

  /**
   * @param {HTMLFormElement} form
   * @param {HTMLTextAreaElement} prompt
   */
  constructor(form, prompt) {
    this.#prompt = prompt;
    this.#transcript = find(".transcript", HTMLElement, form);
    this.#results = find(".results", HTMLElement, form);
  }

  /** @param {boolean} isShown */
  show(isShown) {
    this.#transcript.hidden = !isShown || this.#messages.length === 0;
    this.#results.replaceChildren();
  }

  /**
   * @param {Record<string, unknown>} body
   * @param {Run} run
   * @param {boolean} isTinted
   * @returns {Promise<string>}
   */
  async send(body, { signal, say, results }, isTinted) {
    /** @type {Message[]} */
    const messages = [...this.#messages, { role: "user", content: this.#prompt.value }];
    const view = new TokenView({ label: "Answer", isTinted });
    const reader = new ChatCellReader();
    const clock = new Clock();
    let text = "";
    let hasBegun = false;
    /** @type {any} */
    let reason = null;
    const request = { ...body, messages, n: undefined, logprobs: true, top_logprobs: TOP };
    try {
      for await (const { data } of postEvents("v1/chat/completions", request, { signal })) {
        for (const { delta, logprobs, finish_reason } of data.choices) {
          if (!hasBegun) results.replaceChildren(view.element);
          hasBegun = true;
          text += delta.content ?? "";
          const content = logprobs?.content ?? [];
          clock.count(content.length);
          view.push(reader.push(delta.content ?? "", content), reader.rest);
          reason ??= finish_reason;
        }
        say(clock.status);
      }
    } finally {
      if (hasBegun) {
        view.push(reader.end(), reader.rest);
        view.finish(reason);
        this.#keep([...messages, { role: "assistant", content: text }], view);
      }
    }
    return clock.total;
  }

  /**
   * @param {Message[]} messages
   * @param {TokenView} view of the last one
   */
  #keep(messages, view) {
    const added = messages.slice(this.#messages.length);
    this.#messages = messages;
    for (const { role, content } of added) {
      const body = role === "user" ? h("p", { class: "text" }, content) : view.element;
      const name = h("span", { class: "name" }, role === "user" ? "You" : "Model");
      this.#transcript.append(h("div", { class: "turn" }, name, body));
    }
    this.#transcript.hidden = false;
    this.#clearButton();
    this.#prompt.value = "";
    this.#prompt.focus();
  }

  #clearButton() {
    this.#transcript.querySelector(".clear")?.remove();
    const clear = () => {
      this.#messages = [];
      this.#transcript.replaceChildren();
      this.#transcript.hidden = true;
      this.#prompt.focus();
    };
    const properties = { type: "button", class: "quiet clear", onclick: clear };
    this.#transcript.append(h("button", properties, "Begin anew"));
  }
}
