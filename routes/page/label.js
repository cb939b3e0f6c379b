/**
 * The page at `/label`: answers side by side, put in order by people.
 *
 * @module
 */
import { ApiFailure, getJson, postJson } from "./api.js";
import { find } from "./dom.js";
import { LabelView } from "./label_view.js";
import { feedbackOf } from "./ranking.js";
import { fieldsOf, setUpForm } from "./run_form.js";
import { count as counted } from "./scores.js";
import { draft, setDraft } from "./session.js";
import { setUpShell } from "./shell.js";
import { compact, numberOf } from "./values.js";

/** @typedef {import("../schemas/feedback_queue.ts").NextBody} NextBody */
/** @typedef {import("./ranking.js").Task} Task */

const labeler = find("#labeler", HTMLInputElement);
const count = find("#count", HTMLSelectElement);
const sessionId = `page-${crypto.getRandomValues(new Uint32Array(2)).join("-")}`;

const TASK = "label.task";
/** For so long the queue keeps a task for whoever got it; a page that is loaded again shows it. */
const LEASE_MS = 110_000;

/** What is on the page, and what was sent before it. */
const state = {
  /** @type {Task | undefined} */
  task: undefined,
  /** Under which key it is sent: once, however often. */
  key: "",
  /** @type {string | undefined} id of the record that it takes the place of */
  supersedes: undefined,
  /** @type {{ task: Task, id: string } | undefined} */
  last: undefined,
  /** @type {Task | undefined} comes after one that is changed: the queue does not give it again */
  waiting: undefined,
  sent: 0,
  isBusy: false,
};
const view = new LabelView({
  send: (verdict) => run(() => send(verdict)),
  skip: () => run(next),
  change: () => {
    if (state.last === undefined) return;
    state.waiting = state.task;
    show(state.last.task, state.last.id);
  },
});

/**
 * Shows a task.
 *
 * @param {Task} task
 * @param {string} [supersedes]
 */
function show(task, supersedes) {
  state.task = task;
  setDraft(TASK, { task, untilMs: Date.now() + LEASE_MS });
  state.supersedes = supersedes;
  // Random and not a hash: who judges the same answers alike twice has said it twice.
  state.key = [...crypto.getRandomValues(new Uint32Array(4))].map((n) => n.toString(36)).join("-");
  view.show(task, { canChange: state.last !== undefined && supersedes === undefined });
}

/** Shows the next task. */
async function next() {
  if (state.waiting) {
    show(state.waiting);
    state.waiting = undefined;
    return;
  }
  const query = new URLSearchParams({ candidates: count.value });
  if (labeler.value !== "") query.set("labeler", labeler.value);
  /** @type {NextBody} */
  const { data: [task], chosen_by, reward_model, waiting } = await getJson(
    `v1/feedback/next?${query}`,
  );
  const chosen = chosen_by === "reward_model"
    ? `chosen where ${reward_model} is least sure`
    : "chosen where the fewest have judged";
  const unsure = task?.uncertainty == null ? "" : `: ${task.uncertainty.toFixed(2)} of 1 bit`;
  const sent = state.sent > 0 ? ` · ${state.sent} sent` : "";
  view.say(
    task ? `${counted(waiting, "prompt")} waiting · ${chosen}${unsure}${sent}` : sent.slice(3),
  );
  if (task) {
    show(task);
    return;
  }
  state.task = undefined;
  setDraft(TASK, null);
  view.showNone();
}

/** @param {Parameters<typeof feedbackOf>[1]} verdict */
async function send(verdict) {
  const { task, key, supersedes } = state;
  if (task === undefined) return;
  const body = compact({
    ...feedbackOf(task, verdict),
    labeler: labeler.value === "" ? undefined : { id: labeler.value, kind: "human" },
    session_id: sessionId,
    supersedes,
  });
  const receipt = await postJson("v1/feedback", body, { headers: { "idempotency-key": key } });
  state.last = { task, id: receipt.id };
  if (supersedes === undefined) state.sent++;
  await next();
}

/**
 * Does one thing at a time, and says what went wrong.
 *
 * @param {() => Promise<void>} act
 */
async function run(act) {
  if (state.isBusy) return;
  state.isBusy = true;
  view.fault("");
  banner("");
  try {
    await act();
  } catch (error) {
    if (!(error instanceof ApiFailure)) throw error;
    const isKey = error.status === 401 || error.status === 403;
    if (isKey) document.dispatchEvent(new CustomEvent("brachio:key", { detail: error.message }));
    if (isKey) banner(`This server asks for an API key (Alt K). ${error.message}`);
    else if (view.isShown) view.fault(error.message);
    else banner(error.message);
  } finally {
    state.isBusy = false;
  }
}

/** @param {string} text */
function banner(text) {
  const element = find("#banner", HTMLElement);
  element.textContent = text;
  element.hidden = text === "";
}

function setUp() {
  const kept = draft("label");
  if (Array.isArray(kept)) [count.value, labeler.value] = kept;
  for (const control of [count, labeler]) {
    control.addEventListener("change", () => setDraft("label", [count.value, labeler.value]));
  }
  labeler.addEventListener("change", () => void run(next));
  count.addEventListener("change", () => {
    // The queue would not give this one again for a while.
    const words = count.selectedOptions[0]?.textContent?.trim();
    if (view.isShown) view.say(`${words} side by side from the next prompt on`);
    else void run(next);
  });
  find("#again", HTMLButtonElement).addEventListener("click", () => run(next));
  setUpShell({ onKey: () => run(next) });
  setUpForm(find("#ask form", HTMLFormElement), async ({ signal }) => {
    const field = fieldsOf(find("#ask form", HTMLFormElement));
    const body = compact({
      prompt: field("prompt"),
      n: numberOf(field("n")),
      max_tokens: numberOf(field("max_tokens")),
    });
    const { choices } = await postJson("v1/completions", body, { signal });
    if (state.task === undefined) await run(next);
    return `${counted(choices.length, "answer")} written`;
  });
  const task = /** @type {{ task: Task, untilMs: number } | undefined} */ (draft(TASK));
  if (task && task.untilMs > Date.now()) show(task.task);
  else void run(next);
}

setUp();
