/**
 * Tests that need more than a plain `deno test` grants: files, processes, the local network.
 *
 * They live in tests/system/ (tests/slow/ where they take long), run under `brachio test`, and
 * count as ignored elsewhere.
 *
 * @module
 */

const NEEDED: Deno.PermissionDescriptor[] = [
  { name: "read" },
  { name: "write" },
  { name: "run", command: "deno" },
  { name: "net", host: "127.0.0.1" },
];

/** Reads an environment variable where that is allowed; a plain `deno test` has none. */
export function readEnv(name: string): string | undefined {
  if (Deno.permissions.querySync({ name: "env", variable: name }).state !== "granted") {
    return undefined;
  }
  return Deno.env.get(name);
}

/** Whether the permissions of `brachio test` are there. */
export function hasSystem(): boolean {
  return NEEDED.every((permission) => Deno.permissions.querySync(permission).state === "granted");
}

/** Registers a test that needs files, processes or the local network. */
export function systemTest(name: string, fn: (t: Deno.TestContext) => void | Promise<void>): void {
  Deno.test({ name, fn, ignore: !hasSystem() });
}

/**
 * Registers a test that takes long, where `brachio test --slow` asks for it; elsewhere it is none.
 */
export function slowTest(name: string, fn: (t: Deno.TestContext) => void | Promise<void>): void {
  if (readEnv("BRACHIO_SLOW") === "1") systemTest(name, fn);
}

/** The repository's folder. */
export const ROOT: URL = new URL("../../", import.meta.url);
