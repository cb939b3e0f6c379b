/**
 * Slots: the texts that are being written, as the GPU holds them.
 *
 * A slot has all that a next token depends on but its logits: the ids so far, how to choose, what
 * ends the text. It is written once, when a text gets it; from then on {@linkcode sampleTokens} of
 * `sampling.ts` moves it on, so that steps follow each other with nothing written or read between
 * them.
 *
 * @module
 */
import type { Device } from "../gpu/device.ts";
import type { Tensor } from "../gpu/tensor.ts";

/** Words of a slot; the constants of shaders/slot.wgsl. Floats are there by their bits. */
export const SLOT = {
  /** A value of {@linkcode STATE}. */
  STATE: 0,
  /** Ids in the history. */
  LENGTH: 1,
  /** Row of the block table. */
  SEQUENCE: 2,
  /** Tokens that may still be written. */
  REMAINING: 3,
  /** The low and the high word of the seed follow each other. */
  SEED: 4,
  /** Number of the text among those of one prompt. */
  CHOICE: 6,
  /** How many of the most likely tokens to tell of. */
  TOP: 7,
  /** f32; 0 is greedy. */
  TEMPERATURE: 8,
  /** Tokens kept, 0 is all. */
  TOP_K: 9,
  /** f32. */
  TOP_P: 10,
  /** f32. */
  MIN_P: 11,
  /** f32. */
  REPETITION: 12,
  /** f32. */
  FREQUENCY: 13,
  /** f32. */
  PRESENCE: 14,
  /** Length of the n-grams that must not come twice, 0 is off. */
  NGRAM: 15,
  /** Bits: 1, the counts are kept and read; 2, the bias is read. */
  FLAGS: 16,
  /** How many stop ids there are. */
  STOPS: 17,
  /** The first of {@linkcode MOST_SLOT_STOPS} stop ids. */
  STOP: 18,
} as const;

/** Words of a slot in all. */
export const SLOT_FIELDS = 24;

/** The most ids that end a text. */
export const MOST_SLOT_STOPS = 4;

/** The most of the most likely tokens that a row can tell of. */
export const MOST_TOP_TOKENS = 20;

/** What a slot's text is doing, or why it ended. */
export const STATE = {
  /** There is no text, or it was taken away. */
  FREE: 0,
  /** It is being written. */
  ALIVE: 1,
  /** Its last token is a stop id. */
  STOP: 2,
  /** It has all the tokens that were asked for. */
  LENGTH: 3,
  /** It fills the context. */
  CONTEXT: 4,
  /** Logits were NaN, infinite, or none was finite: nothing was written. */
  FAILED: 5,
} as const;

/** Added to a count of a token that is in the prompt. */
const IN_PROMPT = 0x8000_0000;
const FLAG_COUNTS = 1;
const FLAG_BIAS = 2;
/** Bounds of the temperature in f32: its inverse, and 200 times it, are finite and not 0. */
const [LEAST_TEMPERATURE, MOST_TEMPERATURE] = [2 ** -100, 2 ** 100];

/** The buffers of S slots, of texts of up to T tokens of V ids. */
export interface SlotState {
  /** Number of slots. */
  readonly S: number;
  /** Ids of the vocabulary. */
  readonly V: number;
  /** Longest text. */
  readonly T: number;
  /** (S, {@linkcode SLOT_FIELDS}) u32, see {@linkcode SLOT}. */
  readonly slots: Tensor;
  /** (S, T) u32: prompt and what was written. */
  readonly history: Tensor;
  /** (S, V rounded up to 4) u32: times written, and the highest bit for tokens of the prompt. */
  readonly counts: Tensor;
  /** (S, V rounded up to 4) f32: added to the logits. */
  readonly bias: Tensor;
}

/**
 * How to choose, every value given: what `checkSampling` of src/infer/sampler.ts returns, and a
 * key.
 */
export interface SlotSampling {
  /** Divides the logits; 0 is greedy. */
  readonly temperature: number;
  /** Only the so many most likely tokens; 0 is all. */
  readonly topK: number;
  /** Only the most likely tokens that reach this probability together. */
  readonly topP: number;
  /** Only tokens of at least this share of the largest probability. */
  readonly minP: number;
  /** Divides positive logits of tokens in the text, multiplies negative ones. */
  readonly repetitionPenalty: number;
  /** Taken off a logit for each time the token was written. */
  readonly frequencyPenalty: number;
  /** Taken off a logit when the token was written. */
  readonly presencePenalty: number;
  /** Ids, and what is added to their logits. */
  readonly logitBias: readonly (readonly [id: number, bias: number])[];
  /** No n-gram of this length comes twice; 0 is off. */
  readonly noRepeatNgram: number;
  /** Of Philox: what the seed becomes. */
  readonly key: ArrayLike<number>; // (2), low word first
  /** Below 2^32. */
  readonly choice: number;
}

/** A text that gets a slot. */
export interface SlotText {
  /** Prompt and what was written before, if anything; 1 to T - 1 ids. */
  readonly ids: ArrayLike<number>;
  /** How many of the ids, at the end, were written: they count for the penalties. @default 0 */
  readonly written?: number;
  /** Row of the block table. */
  readonly sequence: number;
  /** Tokens that may still be written, 1 or more. */
  readonly maxTokens: number;
  /** Ids that end the text, at most {@linkcode MOST_SLOT_STOPS}. @default none */
  readonly stopIds?: readonly number[];
  /** How many of the most likely tokens to tell of with each, at most 20. @default 0 */
  readonly top?: number;
  /** How to choose. */
  readonly sampling: SlotSampling;
}

/** Slots that are all free; who asks for them destroys them with {@linkcode destroySlots}. */
export function createSlotState(
  device: Device,
  { S, V, T }: { S: number; V: number; T: number },
): SlotState {
  const columns = countColumns(V);
  return {
    S,
    V,
    T,
    slots: device.tensor("slots", [S, SLOT_FIELDS], "u32"),
    history: device.tensor("history", [S, T], "u32"),
    counts: device.tensor("counts", [S, columns], "u32"),
    bias: device.tensor("bias", [S, columns]),
  };
}

/** Columns a row of counts and bias: whole vec4s. */
function countColumns(V: number): number {
  return Math.ceil(V / 4) * 4;
}

/** Gives the buffers back. */
export function destroySlots({ slots, history, counts, bias }: SlotState): void {
  for (const tensor of [slots, history, counts, bias]) tensor.destroy();
}

/** Whether a choice looks at how often tokens are in the text. */
function usesCounts(sampling: SlotSampling): boolean {
  const { repetitionPenalty, frequencyPenalty, presencePenalty } = sampling;
  return repetitionPenalty !== 1 || frequencyPenalty !== 0 || presencePenalty !== 0;
}

/** The words of a slot whose text is about to be written on. */
export function encodeSlot(text: SlotText): Uint32Array<ArrayBuffer> {
  const { ids, sequence, maxTokens, stopIds = [], top = 0, sampling } = text;
  const words = new Uint32Array(SLOT_FIELDS);
  const floats = new Float32Array(words.buffer);
  words[SLOT.STATE] = STATE.ALIVE;
  words[SLOT.LENGTH] = ids.length;
  words[SLOT.SEQUENCE] = sequence;
  words[SLOT.REMAINING] = Math.min(maxTokens, 0xffff_ffff);
  words.set(sampling.key, SLOT.SEED);
  words[SLOT.CHOICE] = sampling.choice;
  words[SLOT.TOP] = top;
  const { temperature } = sampling;
  const bounded = Math.min(Math.max(temperature, LEAST_TEMPERATURE), MOST_TEMPERATURE);
  floats[SLOT.TEMPERATURE] = temperature === 0 ? 0 : bounded;
  words[SLOT.TOP_K] = sampling.topK;
  floats[SLOT.TOP_P] = sampling.topP;
  floats[SLOT.MIN_P] = sampling.minP;
  floats[SLOT.REPETITION] = sampling.repetitionPenalty;
  floats[SLOT.FREQUENCY] = sampling.frequencyPenalty;
  floats[SLOT.PRESENCE] = sampling.presencePenalty;
  words[SLOT.NGRAM] = sampling.noRepeatNgram;
  words[SLOT.FLAGS] = (usesCounts(sampling) ? FLAG_COUNTS : 0) |
    (sampling.logitBias.length > 0 ? FLAG_BIAS : 0);
  words[SLOT.STOPS] = stopIds.length;
  words.set(stopIds, SLOT.STOP);
  return words;
}

/**
 * Gives a text a slot; takes effect before the next submission. Counts and bias are written only
 * when the text's choices read them.
 *
 * @throws {RangeError} When the slot does not exist, or the text does not fit or has unknown ids.
 */
export function writeSlot(device: Device, state: SlotState, slot: number, text: SlotText): void {
  checkText(state, slot, text);
  const { V, T } = state;
  const { ids, written = 0, sampling } = text;
  device.write(state.history, Uint32Array.from(ids), slot * T);
  if (usesCounts(sampling)) {
    const counts = new Uint32Array(V);
    const prompt = ids.length - written;
    for (let i = prompt; i < ids.length; i++) counts[ids[i]!]!++;
    for (let i = 0; i < prompt; i++) counts[ids[i]!]! |= IN_PROMPT;
    device.write(state.counts, counts, slot * countColumns(V));
  }
  if (sampling.logitBias.length > 0) {
    const bias = new Float32Array(V);
    for (const [id, value] of sampling.logitBias) bias[id]! += value;
    device.write(state.bias, bias, slot * countColumns(V));
  }
  device.write(state.slots, encodeSlot(text), slot * SLOT_FIELDS);
}

/** Takes a slot from its text: its rows are dead from the next submission on. */
export function freeSlot(device: Device, state: SlotState, slot: number): void {
  checkSlot(state, slot, "free");
  device.write(state.slots, new Uint32Array(SLOT_FIELDS), slot * SLOT_FIELDS);
}

function checkSlot({ S }: SlotState, slot: number, act: string): void {
  if (Number.isInteger(slot) && slot >= 0 && slot < S) return;
  throw new RangeError(`Cannot ${act} slot ${slot}: one of ${S}: got ${slot}`);
}

function checkText(state: SlotState, slot: number, text: SlotText): void {
  checkSlot(state, slot, "write");
  const { V, T } = state;
  const { ids, written = 0, maxTokens, stopIds = [], top = 0, sampling } = text;
  const need = (holds: boolean, want: string, got: string | number) => {
    if (!holds) throw new RangeError(`Cannot write slot ${slot}: ${want}: got ${got}`);
  };
  need(ids.length >= 1 && ids.length < T, `1 to ${T - 1} ids`, ids.length);
  need(written >= 0 && written < ids.length, "fewer written ids than ids", written);
  need(maxTokens >= 1, "maxTokens from 1", maxTokens);
  need(stopIds.length <= MOST_SLOT_STOPS, `at most ${MOST_SLOT_STOPS} stop ids`, stopIds.length);
  need(top >= 0 && top <= MOST_TOP_TOKENS, `top from 0 to ${MOST_TOP_TOKENS}`, top);
  for (let i = 0; i < ids.length; i++) need(ids[i]! < V, `ids below ${V}`, `${ids[i]} at ${i}`);
  for (const [id] of sampling.logitBias) need(id < V, `biased ids below ${V}`, id);
}
