/**
 * The choice of a model.
 *
 * @module
 */
import { ApiFailure, getJson } from "./api.js";
import { find, h } from "./dom.js";
import { apiKey, draft, setDraft } from "./session.js";

/** @typedef {import("../schemas/models.ts").Model} Model */

const DRAFT = "model";

/** The models that the server has, and the one that is chosen. */
export class Models {
  #select;
  /** @type {Model[]} */
  #models = [];
  #timer = 0;

  /** @param {HTMLSelectElement} select */
  constructor(select) {
    this.#select = select;
    select.addEventListener("change", () => {
      setDraft(DRAFT, select.value);
      this.#tell();
    });
  }

  /** The chosen one's id; undefined where none is known, which is the server's default. */
  get chosen() {
    return this.#select.value === "" ? undefined : this.#select.value;
  }

  /** Asks the server for them; while it loads them, again and again. */
  async load() {
    clearTimeout(this.#timer);
    try {
      const { data } = await getJson("v1/models");
      this.#models = data;
      const wanted = this.chosen ?? draft(DRAFT);
      this.#select.replaceChildren(...this.#models.map(({ id }) => {
        return h("option", { value: id, selected: id === wanted }, id);
      }));
      this.#banner("");
      this.#tell();
    } catch (error) {
      if (!(error instanceof ApiFailure)) throw error;
      const isKey = error.status === 401 || error.status === 403;
      this.#banner(
        isKey ? `This server asks for an API key (Alt K). ${error.message}` : error.message,
      );
      if (isKey && apiKey() !== "") {
        document.dispatchEvent(new CustomEvent("brachio:key", { detail: error.message }));
      }
      if (!isKey) this.#timer = setTimeout(() => void this.load(), 2000);
    }
  }

  /** @param {string} text */
  #banner(text) {
    const banner = find("#banner", HTMLElement);
    if (banner.textContent !== text) banner.textContent = text;
    banner.hidden = text === "";
  }

  #tell() {
    const facts = document.querySelector("#model-facts");
    const model = this.#models.find(({ id }) => id === this.chosen);
    if (facts === null || model === undefined) return;
    const { n_params: parameters, step } = model.meta;
    const texts = [
      `${parameters.toLocaleString("en")} parameters`,
      `context ${model.max_model_len}`,
      `step ${step}`,
    ];
    facts.textContent = texts.join(" · ");
  }
}
