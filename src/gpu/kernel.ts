/**
 * A kernel as written: WGSL text and what can be read off it without a device.
 *
 * Bindings, their access and the fields of `Params` are reflected from the shader, so that they are
 * stated once, there, and every dispatch is checked against them.
 *
 * @module
 */
import { constants, evaluate } from "./specialize.ts";

/** Element type of a tensor. */
export type DType = "f32" | "u32" | "f16";

/** How a shader declares a binding. */
export type BindingKind = "uniform" | "read" | "read_write" | "texture";

/** One `@group(0) @binding(n)` declaration. */
export interface BindingSource {
  /** Variable of the shader. */
  readonly name: string;
  /** Address space and access. */
  readonly kind: BindingKind;
  /** Element type of a storage array or texture; undefined for uniforms and structs. */
  readonly dtype: DType | undefined;
}

/** A scalar of the shader's `Params` struct, four bytes each, in order. */
export interface ParamField {
  /** Field of the struct. */
  readonly name: string;
  /** How its four bytes are read. */
  readonly type: "u32" | "i32" | "f32";
}

/** A WGSL file and its reflection; made by {@linkcode defineKernel}. */
export interface KernelSource {
  /** Names the kernel in messages and profiles. */
  readonly label: string;
  /** Path in the repository, for messages. */
  readonly file: string;
  /** WGSL, includes not yet pasted in. */
  readonly source: string;
  /** Text of included files, by the name they are asked for. */
  readonly includes: Readonly<Record<string, string>>;
  /** By binding number; 0 is the `Params` uniform where the shader has one. */
  readonly bindings: readonly BindingSource[];
  /** Empty when the shader has no `Params`. */
  readonly params: readonly ParamField[];
}

const ELEMENT: Readonly<Record<string, DType>> = {
  f32: "f32",
  vec2f: "f32",
  vec4f: "f32",
  u32: "u32",
  vec2u: "u32",
  vec4u: "u32",
  f16: "f16",
  vec2h: "f16",
  vec4h: "f16",
  half2: "f16", // packed in a u32, see shaders/storage_f16.wgsl
  half4: "f16",
};

const BINDING =
  /^@group\(0\) @binding\((\d+)\) var(?:<(uniform|storage, read_write|storage, read|storage)>)? (\w+)\s*:\s*([^;]+);/gm;
/** The one kind of texture that is bound: four f32 a texel, see {@linkcode TextureCopies}. */
const TEXTURE = "texture_storage_2d<rgba32float, read>";

/**
 * Reads bindings and parameters off a shader.
 *
 * @throws {RangeError} When binding numbers leave a gap, `Params` has a field that is no scalar or
 * is no multiple of 16 bytes, or the shader has no `fn main`.
 */
export function defineKernel(
  definition: {
    label: string;
    source: string;
    file: string;
    includes?: Readonly<Record<string, string>>;
  },
): KernelSource {
  const { label, source, file, includes = {} } = definition;
  const want = (what: string, state: string) =>
    new RangeError(`Cannot define kernel ${label} (${file}): ${what}: ${state}`);
  if (!/^fn main\(|\bfn main\(/m.test(source)) throw want(`an entry point "fn main"`, "none");

  const texts = Object.values(includes);
  const bindings: BindingSource[] = [];
  for (const match of [source, ...texts].flatMap((text) => [...text.matchAll(BINDING)])) {
    const [, number, space, name, type] = match;
    if (space === undefined) {
      if (type !== TEXTURE) throw want(`"${name}" a ${TEXTURE}`, `got ${type}`);
      bindings[Number(number)] = { name: name!, kind: "texture", dtype: "f32" };
      continue;
    }
    const kind = space === "uniform"
      ? "uniform"
      : space === "storage, read_write"
      ? "read_write"
      : "read";
    const named = type!.match(/^array<(\w+)>$/)?.[1];
    const element = named === undefined ? undefined : elementOf(named, [source, ...texts]);
    if (kind !== "uniform" && element !== undefined && !(element in ELEMENT)) {
      throw want(`"${name}" of f32, u32 or f16 elements`, `got ${type}`);
    }
    bindings[Number(number)] = { name: name!, kind, dtype: element ? ELEMENT[element] : undefined };
  }
  for (let number = 0; number < bindings.length; number++) {
    if (!bindings[number]) throw want(`bindings without a gap`, `no @binding(${number})`);
  }
  const hasParams = /@binding\(0\) var<uniform> params\s*:\s*Params;/.test(source);
  const params = hasParams ? reflectParams(source, want) : [];
  return { label, file, source, includes, bindings, params };
}

/** The type that a name stands for, through the aliases of some texts. */
function elementOf(name: string, texts: readonly string[]): string {
  if (name in ELEMENT) return name;
  for (const text of texts) {
    const alias = text.match(new RegExp(`^alias ${name}\\s*=\\s*(\\w+);`, "m"))?.[1];
    if (alias !== undefined) return elementOf(alias, texts);
  }
  return name;
}

function reflectParams(
  source: string,
  want: (what: string, state: string) => RangeError,
): ParamField[] {
  const body = source.match(/struct Params\s*\{([^}]*)\}/)?.[1];
  if (body === undefined) throw want(`a "struct Params"`, "none");
  const fields = body.replace(/\/\/[^\n]*/g, "").split(",").map((field) => field.trim())
    .filter((field) => field !== "")
    .map((field) => {
      const match = field.match(/^(\w+)\s*:\s*(u32|i32|f32)$/);
      if (!match) throw want(`scalars u32, i32, f32 in Params`, `got "${field}"`);
      return { name: match[1]!, type: match[2] as ParamField["type"] };
    });
  if (fields.length % 4 !== 0) {
    throw want(`Params of a multiple of 16 bytes`, `${fields.length} scalars, pad it`);
  }
  return fields;
}

/** Bytes of a `Params` struct. */
export function paramsBytes(kernel: KernelSource): number {
  return kernel.params.length * 4;
}

const ELEMENT_BYTES: Readonly<Record<string, number>> = {
  f32: 4,
  u32: 4,
  i32: 4,
  "atomic<u32>": 4,
  vec2f: 8,
  vec2u: 8,
  vec4h: 8,
  vec4f: 16,
  vec4u: 16,
};

/**
 * Bytes of workgroup memory that a specialised shader declares, arrays of arrays and aliases
 * included.
 *
 * @param text WGSL with its constants already set.
 * @param overrides Values of `override` declarations that differ from the defaults in the text.
 */
export function workgroupBytes(
  text: string,
  overrides: Readonly<Record<string, number>> = {},
): number {
  const names: Record<string, number> = { ...constants(text) };
  for (const match of text.matchAll(/^override (\w+)\s*(?::\s*u32)?\s*=\s*([^;]+);/gm)) {
    names[match[1]!] = overrides[match[1]!] ?? evaluate(match[2]!, names) ?? 0;
  }
  const aliases: Record<string, string> = {};
  for (const match of text.matchAll(/\balias (\w+)\s*=\s*([^;]+);/g)) {
    aliases[match[1]!] = match[2]!;
  }
  const bytesOf = (type: string): number => {
    const array = type.match(/^array<(.+),\s*([^,]+)>$/s);
    if (array) return bytesOf(array[1]!.trim()) * (evaluate(array[2]!, names) ?? 0);
    const meant = aliases[type];
    return meant === undefined ? ELEMENT_BYTES[type] ?? 4 : bytesOf(meant);
  };
  let sizeBytes = 0;
  for (const match of text.matchAll(/^var<workgroup> \w+\s*:\s*([^;]+);/gm)) {
    sizeBytes += bytesOf(match[1]!.trim());
  }
  return sizeBytes;
}
