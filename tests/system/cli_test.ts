import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { ROOT, systemTest } from "../support/system.ts";

async function task(args: string[], env: Record<string, string> = {}) {
  const { code, stdout, stderr } = await new Deno.Command("deno", {
    args: ["task", "--quiet", ...args],
    cwd: ROOT,
    env: { NO_COLOR: "1", FORCE_COLOR: "", ...env },
  }).output();
  const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  return { status: code, stdout: out!, stderr: err! };
}

systemTest("a wrong command line ends with one line and status 2", async () => {
  const wrong: [string[], RegExp][] = [
    [["test", "--flgi"], /unknown option '--flgi'/],
    [["test", "--lanes", "5"], /--lanes must be 4, 8 or 16: got "5"/],
    [["test", "no/such/file.ts"], /no such test file or folder: no\/such\/file\.ts/],
    [["doctor", "more"], /too many arguments/],
  ];
  for (const [args, line] of wrong) {
    const { status, stdout, stderr } = await task(args);
    assertEquals([status, stdout], [2, ""], args.join(" "));
    assertMatch(stderr, new RegExp(`^brachio: .*${line.source}.*\\n$`));
  }
});

systemTest("--help names the options and needs no adapter", async () => {
  const { status, stdout, stderr } = await task(["test", "--help"]);
  assertEquals([status, stderr], [0, ""]);
  assertStringIncludes(stdout, "--quick");
});

systemTest("doctor --json tells of the adapter", async () => {
  const { stdout } = await task(["doctor", "--json"]);
  const report = JSON.parse(stdout);
  assertEquals(report.deno, Deno.version.deno);
  assertEquals(report.missing, []);
  assertEquals(typeof report.adapter.limits.maxBufferSize, "number");
});

systemTest("doctor without a driver says what is missing and the cure", async () => {
  const { status, stdout } = await task(["doctor"], {
    DENO_WEBGPU_BACKEND: "none",
    BRACHIO_DRIVER_COMMAND: "bring the driver",
  });
  assertEquals(status, 1);
  assertMatch(stdout, /\nmissing: a WebGPU adapter.*\ntype: +bring the driver\n/);
});

systemTest("test counts what passed and failed in its last line", async () => {
  const folder = await Deno.makeTempDir();
  const file = `${folder}/any_test.ts`;
  const run = async (text: string, ...args: string[]) => {
    await Deno.writeTextFile(file, text);
    const { status, stdout } = await task(["test", file, ...args]);
    return [status, stdout.trimEnd().split("\n").at(-1)];
  };
  const pass = `Deno.test("good", () => {});`;
  const fail = `Deno.test("bad", () => { throw new Error("no"); });`;
  const ignored = `Deno.test({ name: "left out", ignore: true, fn() {} });`;
  try {
    assertEquals(await run(pass), [0, "1 passed, 0 failed"]);
    assertEquals(await run(pass + ignored), [0, "1 passed, 0 failed"]);
    assertEquals(await run(pass + fail), [1, "1 passed, 1 failed"]);
    assertEquals(await run(pass + fail, "--filter", "good"), [0, "1 passed, 0 failed"]);
    assertEquals(await run(""), [1, "0 passed, 1 failed"], "no test at all");
    assertEquals(await run(ignored), [1, "0 passed, 1 failed"], "nothing but ignored ones");
    assertEquals(await run(pass + "Deno.exit = 1; const x: number = '';"), [
      1,
      "0 passed, 1 failed",
    ]);
    const abort = `Deno.test("stops", () => { Deno.kill(Deno.pid, "SIGABRT"); });`;
    assertEquals(await run(pass + abort), [1, "0 passed, 1 failed"], "ends before its results");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

systemTest("test --jobs has a process for each file, and adds up", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.mkdir(`${folder}/deeper`);
    await Deno.writeTextFile(`${folder}/deeper/good_test.ts`, `Deno.test("good", () => {});`);
    await Deno.writeTextFile(`${folder}/helper.ts`, `throw new Error("no test");`);
    const bad = `Deno.test("fine", () => {}); Deno.test("bad", () => { throw new Error("no"); });`;
    await Deno.writeTextFile(`${folder}/bad_test.ts`, bad);
    const { status, stdout } = await task(["test", "--jobs", "2", folder]);
    assertEquals([status, stdout.trimEnd().split("\n").at(-1)], [1, "2 passed, 1 failed"]);
    assertMatch(stdout, /good_test\.ts: 1 passed, 0 failed/);
    assertMatch(stdout, /bad_test\.ts: 1 passed, 1 failed/);
    assertStringIncludes(stdout, "Error: no", "what a file that failed printed");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
