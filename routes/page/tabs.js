/**
 * Views of which one shows, as tabs; the address names it.
 *
 * @module
 */
import { find } from "./dom.js";

/**
 * @param {readonly string[]} names ids of the views; their tabs are "tab-" and that
 * @returns {{ shown: string, show: (name: string) => void }}
 */
export function setUpTabs(names) {
  const tab = (/** @type {string} */ name) => find(`#tab-${name}`, HTMLElement);
  const tabs = {
    shown: "",
    show(/** @type {string} */ name) {
      tabs.shown = name;
      for (const other of names) {
        const isShown = other === name;
        find(`#${other}`, HTMLElement).hidden = !isShown;
        tab(other).setAttribute("aria-selected", String(isShown));
        tab(other).tabIndex = isShown ? 0 : -1;
      }
      // The first view needs no name.
      const address = name === names[0] ? location.pathname + location.search : `#${name}`;
      history.replaceState(null, "", address);
    },
  };
  const fromAddress = () => {
    const name = location.hash.slice(1);
    if (names.includes(name)) tabs.show(name);
  };
  for (const [index, name] of names.entries()) {
    tab(name).addEventListener("click", () => tabs.show(name));
    tab(name).addEventListener("keydown", (event) => {
      const to = {
        ArrowRight: index + 1,
        ArrowLeft: index - 1,
        Home: 0,
        End: names.length - 1,
      }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      const next = /** @type {string} */ (names.at(to % names.length));
      tabs.show(next);
      tab(next).focus();
    });
  }
  if (names.includes(location.hash.slice(1))) fromAddress();
  else tabs.show(/** @type {string} */ (names[0]));
  addEventListener("hashchange", fromAddress);
  return tabs;
}
