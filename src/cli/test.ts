/**
 * `brachio test`: the whole suite in one process, then the kernel tests again on other kinds of
 * adapter. On a GPU, each test file in a process of its own: drivers run out of devices when all
 * are in one.
 *
 * The last line is `N passed, N failed`, which CI reads.
 *
 * @module
 */

import { join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { UsageError } from "./errors.ts";

/** Options of `brachio test`, as the command line gives them. */
export interface TestOptions {
  /** Only tests whose name has this text, or matches this /pattern/. */
  filter?: string;
  /** On this adapter only. */
  quick?: boolean;
  /** The tests that take long, too. */
  slow?: boolean;
  /** Subgroup size of the software adapter. */
  lanes?: number;
  /** False: without the subgroups feature. */
  subgroups: boolean;
  /** False: without the shader-f16 feature. */
  f16: boolean;
  /** Stop at the first failure. */
  failFast?: boolean;
  /**
   * So many processes at a time, each with one test file; a GPU's default is {@linkcode GPU_JOBS}.
   */
  jobs?: number;
}

/** Processes that a GPU's driver bears, and that keep it busy while others compile. */
export const GPU_JOBS = 4;

/** Deno's own closing line, taken apart. */
export interface Summary {
  /** Whether it begins with "ok". */
  ok: boolean;
  /** Tests that passed. */
  passed: number;
  /** Tests that failed. */
  failed: number;
  /** Tests that were not run. */
  ignored: number;
}

interface Run {
  name: string;
  paths: string[];
  env: Record<string, string>;
}

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const KERNEL_TESTS = ["tests/gpu", "tests/ops"];

// What tests under tests/system/ may do; all others run without any of it under a plain
// `deno test`.
const PERMISSIONS = [
  "--no-prompt",
  "--allow-read",
  "--allow-write",
  "--allow-net=127.0.0.1,localhost",
  "--allow-run=deno,chromium,python3,sh,dash,bash,git,kill",
  "--allow-env",
  "--allow-sys",
];

/** Runs the tests, prints the closing line, and returns the exit status. */
export async function test(paths: string[], options: TestOptions): Promise<number> {
  let [passed, failed, ignored] = [0, 0, 0];
  const own = await adapter();
  const jobs = options.jobs ?? (own.isSoftware ? undefined : GPU_JOBS);
  for (const run of await plan(await found(paths), options, own)) {
    if (run.name !== "") console.log(`\n# ${run.name}`);
    const summary = jobs === undefined
      ? await runTests(run, options, passThrough)
      : await runFiles(run, options, jobs);
    if (summary.passed + summary.failed === 0 && options.filter === undefined) {
      console.log("\nno test ran here, which counts as a failure");
      failed++;
    }
    passed += summary.passed;
    failed += summary.failed;
    ignored += summary.ignored;
    if (failed > 0 && options.failFast) break;
  }
  if (passed + failed === 0) {
    console.log("no test matched, which counts as a failure");
    failed = 1;
  }
  // A test that was left out must not read like one that passed.
  if (ignored > 0) console.log(`\n${ignored} ignored`);
  console.log(`\n${passed} passed, ${failed} failed`);
  return failed === 0 ? 0 : 1;
}

/** The runs that the options ask for; the first is the whole suite, or the paths. */
async function plan(paths: string[], options: TestOptions, own: Adapter): Promise<Run[]> {
  const env: Record<string, string> = { REQUIRE_GPU: "1", ...adapterEnv(options) };
  if (options.slow) env.BRACHIO_SLOW = "1";
  const everything = paths.length === 0;
  // Without a path, as Deno finds no test in a folder that a member of the workspace lies in.
  const runs: Run[] = [{ name: "", paths, env }];

  const ownAdapter = options.lanes === undefined && options.subgroups && options.f16;
  if (!everything || options.quick || !ownAdapter) return runs;
  const kernelTests = await existing(KERNEL_TESTS);
  if (kernelTests.length === 0) return runs;
  for (const lanes of otherLanes(own)) {
    runs.push({
      name: `kernel tests with ${lanes} lanes`,
      paths: kernelTests,
      env: { ...env, ...adapterEnv({ lanes, subgroups: true, f16: true }) },
    });
  }
  runs.push({
    name: `${options.slow ? "all" : "kernel"} tests without subgroups and f16`,
    paths: options.slow ? [] : kernelTests,
    env: { ...env, ...adapterEnv({ subgroups: false, f16: false }) },
  });
  return runs;
}

type AdapterOptions = Pick<TestOptions, "lanes" | "subgroups" | "f16">;

function adapterEnv({ lanes, subgroups, f16 }: AdapterOptions): Record<string, string> {
  const env: Record<string, string> = {};
  if (!subgroups) env.BRACHIO_NO_SUBGROUPS = "1";
  if (!f16) env.BRACHIO_NO_F16 = "1";
  if (lanes !== undefined) {
    env.LP_NATIVE_VECTOR_WIDTH = String(lanes * 32);
    // The driver's disk cache does not know one width's code from another's.
    env.MESA_SHADER_CACHE_DIR = join(cacheFolder(), `brachio-lanes-${lanes}`);
  }
  return env;
}

function cacheFolder(): string {
  return Deno.env.get("XDG_CACHE_HOME") || join(Deno.env.get("HOME") || ROOT, ".cache");
}

interface Adapter {
  /** Whether it is the software driver, or there is none. */
  isSoftware: boolean;
  /** Its subgroup size. */
  lanes?: number;
}

/** The adapter that the tests will have. */
async function adapter(): Promise<Adapter> {
  // In a process of its own, as the driver can spoil the exit status of the one that loads it.
  const { stdout } = await new Deno.Command("deno", {
    args: [
      "eval",
      "--no-config",
      "const info = (await navigator.gpu.requestAdapter())?.info;" +
      "console.log(JSON.stringify([info?.description, info?.subgroupMinSize]))",
    ],
    stderr: "null",
  }).output();
  const [description, lanes] = JSON.parse(new TextDecoder().decode(stdout) || "[]");
  return { isSoftware: /^(llvmpipe|undefined|null)/.test(String(description)), lanes };
}

/** The subgroup sizes that the software adapter can have beside its own; none on a real GPU. */
function otherLanes({ isSoftware, lanes: own }: Adapter): number[] {
  return isSoftware && own ? [4, 8, 16].filter((lanes) => lanes !== own) : [];
}

/** The paths, absolute: Deno runs in another folder than the user's. */
async function found(paths: string[]): Promise<string[]> {
  for (const path of paths) {
    await Deno.stat(path).catch(() => {
      throw new UsageError(`no such test file or folder: ${path}`);
    });
  }
  return paths.map((path) => resolve(path));
}

async function existing(folders: string[]): Promise<string[]> {
  const found = await Promise.all(
    folders.map((folder) => Deno.stat(join(ROOT, folder)).then(() => [folder], () => [])),
  );
  return found.flat();
}

/**
 * Every test file of a run in a process of its own; what a file printed is shown when it failed.
 */
async function runFiles(run: Run, options: TestOptions, jobs: number): Promise<Summary> {
  const files = await testFiles(run.paths, options);
  const stop = () => files.length = 0;
  if (Deno.build.os !== "windows") Deno.addSignalListener("SIGTERM", stop);
  const total: Summary = { ok: true, passed: 0, failed: 0, ignored: 0 };
  const work = async () => {
    for (let file = files.shift(); file !== undefined; file = files.shift()) {
      let printed = "";
      const summary = await runTests({ ...run, paths: [file] }, options, async (stream) => {
        return printed = await new Response(stream).text();
      });
      const { passed, failed, ignored } = summary;
      if (failed > 0) console.log(printed);
      console.log(`${relative(ROOT, file)}: ${passed} passed, ${failed} failed`);
      total.passed += passed;
      total.failed += failed;
      total.ignored += ignored;
      if (failed > 0 && options.failFast) stop();
    }
  };
  await Promise.all(Array.from({ length: jobs }, work));
  if (Deno.build.os !== "windows") Deno.removeSignalListener("SIGTERM", stop);
  return { ...total, ok: total.failed === 0 };
}

/** Test files among paths, or all of them, in the order of their names. */
async function testFiles(paths: readonly string[], options: TestOptions): Promise<string[]> {
  const skipped = options.slow ? undefined : join(ROOT, "tests/slow");
  const files: string[] = [];
  const add = async (path: string) => {
    if (path === skipped) return;
    if (!(await Deno.stat(path)).isDirectory) return void files.push(path);
    for await (const { name, isDirectory } of Deno.readDir(path)) {
      if (isDirectory || name.endsWith("_test.ts")) await add(join(path, name));
    }
  };
  for (const path of paths.length > 0 ? paths : [join(ROOT, "tests")]) await add(path);
  return files.sort();
}

async function runTests(
  run: Run,
  options: TestOptions,
  read: (printed: ReadableStream<Uint8Array<ArrayBuffer>>) => Promise<string>,
): Promise<Summary> {
  const flags = [...PERMISSIONS, "--permit-no-files"];
  if (options.filter !== undefined) flags.push(`--filter=${options.filter}`);
  if (options.failFast) flags.push("--fail-fast");
  if (!options.slow) flags.push("--ignore=tests/slow");
  const child = new Deno.Command("deno", {
    args: ["test", ...flags, ...run.paths],
    cwd: ROOT,
    env: {
      ...run.env,
      DENO_DIR: Deno.env.get("DENO_DIR") || join(cacheFolder(), "deno"),
      ...(Deno.stdout.isTerminal() ? {} : { NO_COLOR: "1" }), // Deno colours what it writes to a pipe
    },
    stdout: "piped",
  }).spawn();
  // Ctrl-C reaches the child by itself, another signal would leave it running.
  const stop = () => child.kill("SIGTERM");
  if (Deno.build.os !== "windows") Deno.addSignalListener("SIGTERM", stop);
  const tail = await read(child.stdout);
  const status = await child.status;
  if (Deno.build.os !== "windows") Deno.removeSignalListener("SIGTERM", stop);
  const { summary, note } = judge(parseSummary(tail), status);
  if (note !== undefined) console.log(`\nnote: ${note}`);
  return summary;
}

/** Copies a stream to stdout, and returns its end. */
async function passThrough(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<string> {
  const decoder = new TextDecoder();
  let tail = "";
  for await (const chunk of stream) {
    for (let at = 0; at < chunk.length;) at += await Deno.stdout.write(chunk.subarray(at));
    tail = (tail + decoder.decode(chunk, { stream: true })).slice(-10_000);
  }
  return tail;
}

/**
 * Finds Deno's closing line in what a test run printed.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { parseSummary } from "./test.ts";
 *
 * const line = "ok | 12 passed (3 steps) | 0 failed | 2 ignored (1s)";
 * assertEquals(parseSummary(line), { ok: true, passed: 12, failed: 0, ignored: 2 });
 * ```
 */
export function parseSummary(printed: string): Summary | undefined {
  // deno-lint-ignore no-control-regex
  const lines = printed.replaceAll(/\x1b\[[\d;]*m/g, "").split(/\r?\n/).reverse();
  for (const line of lines) {
    const head = line.match(/^(ok|FAILED) \| (\d+) passed.* \| (\d+) failed/);
    if (!head) continue;
    const ignored = line.match(/ \| (\d+) ignored/);
    return {
      ok: head[1] === "ok",
      passed: Number(head[2]),
      failed: Number(head[3]),
      ignored: Number(ignored?.[1] ?? 0),
    };
  }
  return undefined;
}

/**
 * Weighs what was printed against how the process ended; `note` says what does not fit together.
 */
export function judge(
  summary: Summary | undefined,
  { code, signal }: Pick<Deno.CommandStatus, "code" | "signal">,
): { summary: Summary; note?: string } {
  const ending = signal ? `${signal}, status ${code}` : `status ${code}`;
  if (summary === undefined) {
    return {
      summary: { ok: false, passed: 0, failed: 1, ignored: 0 },
      note: `the tests ended before their results were printed (${ending})`,
    };
  }
  if (summary.ok && code === 134) {
    // Deno with Mesa's software driver: about 3 processes in 1,000 corrupt their heap at exit.
    return { summary, note: `all results were printed, then the process aborted (${ending})` };
  }
  if (summary.failed > 0 || (summary.ok && code === 0)) return { summary };
  return { summary: { ...summary, ok: false, failed: 1 }, note: `the tests ended with ${ending}` };
}
