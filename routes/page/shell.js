/**
 * What stands around the views: the API key, the theme, the list of keys.
 *
 * @module
 */
import { find, h } from "./dom.js";
import { clearWithin } from "./faults.js";
import { apiKey, setApiKey } from "./session.js";

const THEMES = ["system", "light", "dark"];
const THEME = "brachio.theme";

/** @param {{ onKey: () => void }} options `onKey`: the key has changed */
export function setUpShell({ onKey }) {
  setUpTheme();
  const openHelp = setUpDialog("help-dialog", "open-help");
  document.body.append(keyDialog());
  const openKey = setUpDialog("key-dialog", "open-key");
  setUpKey(onKey, openKey);
  document.addEventListener("keydown", (event) => {
    const isHelp = (event.ctrlKey || event.metaKey) && event.key === "/";
    const isKey = event.altKey && !event.ctrlKey && !event.metaKey && event.code === "KeyK";
    if (!isHelp && !isKey) return;
    event.preventDefault();
    if (document.querySelector("dialog[open]") === null) (isHelp ? openHelp : openKey)();
  });
}

function keyDialog() {
  const input = h("input", {
    id: "key",
    type: "password",
    autocomplete: "off",
    spellcheck: false,
    autofocus: true,
  });
  const button = (/** @type {string} */ text, /** @type {object} */ properties) => {
    return h("button", { type: "button", class: "quiet", ...properties }, text);
  };
  return h(
    "dialog",
    { id: "key-dialog", "aria-labelledby": "key-title" },
    h(
      "form",
      { method: "dialog", noValidate: true },
      h("h2", { id: "key-title" }, "API key"),
      h("p", {}, "Kept in this tab until it is closed, and sent to this server only."),
      h("div", { class: "field" }, h("label", { for: "key" }, "Key"), input),
      h(
        "div",
        { class: "run" },
        h("button", { type: "submit", class: "main" }, "Use it"),
        button("Forget it", { id: "forget-key" }),
        button("Close", { "data-close": "" }),
      ),
    ),
  );
}

/**
 * @param {string} id
 * @param {string} opener
 * @returns {() => void} opens it
 */
function setUpDialog(id, opener) {
  const dialog = find(`#${id}`, HTMLDialogElement);
  const open = () => dialog.showModal();
  find(`#${opener}`, HTMLButtonElement).addEventListener("click", open);
  for (const button of dialog.querySelectorAll("[data-close]")) {
    button.addEventListener("click", () => dialog.close());
  }
  // A click beside it; within it, the target is something in it.
  dialog.addEventListener("click", ({ target, clientX, clientY }) => {
    const { left, right, top, bottom } = dialog.getBoundingClientRect();
    const isInside = clientX > left && clientX < right && clientY > top && clientY < bottom;
    if (target === dialog && !isInside) dialog.close();
  });
  return open;
}

/**
 * @param {() => void} onKey
 * @param {() => void} open
 */
function setUpKey(onKey, open) {
  const dialog = find("#key-dialog", HTMLDialogElement);
  const input = find("#key", HTMLInputElement);
  const opener = find("#open-key", HTMLButtonElement);
  const tell = () => opener.textContent = apiKey() === "" ? "API key" : "API key ✓";
  const use = (/** @type {string} */ key) => {
    setApiKey(key);
    input.value = "";
    clearWithin(dialog);
    tell();
    onKey();
  };
  find("form", HTMLFormElement, dialog).addEventListener("submit", () => use(input.value.trim()));
  find("#forget-key", HTMLButtonElement).addEventListener("click", () => {
    use("");
    dialog.close();
  });
  document.addEventListener("brachio:key", (event) => {
    clearWithin(dialog);
    const message = String(/** @type {CustomEvent} */ (event).detail);
    const text = h("p", { class: "fault", id: "key-fault", role: "alert" }, message);
    input.setAttribute("aria-invalid", "true");
    input.setAttribute("aria-describedby", text.id);
    input.after(text);
    open();
  });
  tell();
}

function setUpTheme() {
  const button = find("#theme", HTMLButtonElement);
  let theme = readTheme();
  const show = () => {
    document.documentElement.style.colorScheme = theme === "system" ? "" : theme;
    button.textContent = theme === "system" ? "Theme" : theme === "light" ? "Light" : "Dark";
    button.setAttribute("aria-label", `Theme: ${theme}`);
  };
  button.addEventListener("click", () => {
    theme = /** @type {string} */ (THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length]);
    try {
      localStorage.setItem(THEME, theme);
    } catch {
      // it then lasts as long as the page
    }
    show();
  });
  show();
}

function readTheme() {
  try {
    const theme = localStorage.getItem(THEME) ?? "";
    return THEMES.includes(theme) ? theme : "system";
  } catch {
    return "system";
  }
}
