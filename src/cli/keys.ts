/**
 * `brachio keys`: who may call a server.
 *
 * @module
 */
import { join } from "node:path";
import { ApiKeys, KEYS_FILE, type Scope, SCOPES } from "../config/api_keys.ts";
import { writeFileAtomic } from "../run/atomic.ts";
import { runsRoot } from "../run/run_folder.ts";
import { UsageError } from "./errors.ts";

/** Options of every `brachio keys` command. */
export interface KeysCommand {
  /** Folder of all runs. */
  runs?: string;
}

/** Options of `brachio keys create`. */
export interface KeysCreateCommand extends KeysCommand {
  /** What the key may do. */
  scope: string[];
}

/** Makes a key and prints it; it cannot be shown again. */
export async function createKey(name: string, options: KeysCreateCommand): Promise<number> {
  const { path, keys } = await open(options);
  if (name.length === 0 || name.length > 100) {
    throw new UsageError(`a key needs a name of 1 to 100 characters: got ${name.length}`);
  }
  const scopes = options.scope.map((scope) => {
    if ((SCOPES as readonly string[]).includes(scope)) return scope as Scope;
    throw new UsageError(`--scope must be ${SCOPES.join(", ")}: got "${scope}"`);
  });
  const made = keys.create(name, scopes, Date.now());
  await save(path, made.keys);
  console.error(`brachio: ${made.key.id} may ${scopes.join(", ")}; it is shown only now:`);
  console.log(made.text);
  return 0;
}

/** Prints all keys but their texts, which nobody has. */
export async function listKeys(options: KeysCommand): Promise<number> {
  const { path, keys } = await open(options);
  if (keys.keys.length === 0) console.error(`brachio: no keys in ${path}`);
  for (const { id, name, scopes, createdAt } of keys.keys) {
    console.log([id, createdAt, scopes.join(","), name].join("\t"));
  }
  return 0;
}

/** Takes a key away; a running server knows within a second. */
export async function revokeKey(id: string, options: KeysCommand): Promise<number> {
  const { path, keys } = await open(options);
  const left = keys.revoke(id);
  if (!left) throw new UsageError(`no key "${id}" in ${path}: brachio keys list shows them`);
  await save(path, left);
  console.error(`brachio: ${id} is revoked`);
  return 0;
}

async function open({ runs }: KeysCommand): Promise<{ path: string; keys: ApiKeys }> {
  const path = join(runsRoot(runs), KEYS_FILE);
  return { path, keys: await ApiKeys.read(path) };
}

async function save(path: string, keys: ApiKeys): Promise<void> {
  await Deno.mkdir(join(path, ".."), { recursive: true });
  await writeFileAtomic(path, keys.toJson());
}
