/**
 * The page at `/`: its views, and what they share.
 *
 * @module
 */
import { find } from "./dom.js";
import { setUpFewShot } from "./few_shot.js";
import { Models } from "./models.js";
import { setUpReason } from "./reason.js";
import { setUpShell } from "./shell.js";
import { setUpTabs } from "./tabs.js";
import { setUpWrite } from "./write.js";

const models = new Models(find("#model", HTMLSelectElement));
const model = () => models.chosen;
setUpWrite(model);
setUpFewShot(model);
setUpReason(model);
const tabs = setUpTabs(["write", "few-shot", "reason"]);
setUpShell({ onKey: () => models.load() });

document.addEventListener("keydown", (event) => {
  const view = find(`#${tabs.shown}`, HTMLElement);
  const form = find("form", HTMLFormElement, view);
  if (document.querySelector("dialog[open]")) return;
  if ((event.ctrlKey || event.metaKey) && event.key === "Enter") {
    event.preventDefault();
    form.requestSubmit();
  }
  if (event.key === "Escape") form.dispatchEvent(new Event("brachio:stop"));
  if (!event.altKey || event.ctrlKey || event.metaKey) return;
  const tab = { Digit1: "write", Digit2: "few-shot", Digit3: "reason" }[event.code];
  if (tab !== undefined) {
    event.preventDefault();
    tabs.show(tab);
    const first = find(`#${tab} textarea, #${tab} input`, HTMLElement);
    first.focus();
  }
  if (event.code === "KeyM") {
    event.preventDefault();
    find("#model", HTMLElement).focus();
  }
  if (event.code === "KeyR") {
    event.preventDefault();
    const result = view.querySelector(".results [tabindex], .results summary");
    if (result instanceof HTMLElement) result.focus();
  }
});

void models.load();
