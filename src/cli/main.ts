/**
 * The command line. Each task of deno.json starts this file with the name of its command; the
 * `brachio` script starts the task.
 *
 * @module
 */

import { Command } from "commander";
import { runMain, UsageError } from "./errors.ts";

// Commands whose names are settled and whose code is still to come.
const PLANNED = ["train", "generate", "serve"];

function program(setStatus: (status: number) => void): Command {
  const root = new Command("brachio")
    .description("Train, generate and serve GPTs with Deno and WebGPU")
    .configureOutput({ writeErr: () => {} }) // runMain says it, in one line
    .exitOverride();

  root.command("doctor")
    .description("show the GPU adapter, its features and limits, and what is missing")
    .option("--json", "print it as JSON")
    .action(async (options) => setStatus(await (await import("./doctor.ts")).doctor(options)));

  root.command("test")
    .description("run the tests, then the kernel tests again on other kinds of adapter")
    .argument("[paths...]", "only these test files or folders, and on this adapter only")
    .option("--filter <text>", "only tests whose name has this text, or matches this /pattern/")
    .option("--quick", "on this adapter only")
    .option("--slow", "the tests that take long, too")
    .option("--lanes <count>", "subgroup size of the software adapter: 4, 8 or 16", lanes)
    .option("--no-subgroups", "without the subgroups feature")
    .option("--no-f16", "without the shader-f16 feature")
    .option("--fail-fast", "stop at the first failure")
    .action(async (paths, options) => {
      setStatus(await (await import("./test.ts")).test(paths, options));
    });
  return root;
}

function lanes(text: string): number {
  const count = Number(text);
  if (![4, 8, 16].includes(count)) {
    throw new UsageError(`--lanes must be 4, 8 or 16: got "${text}"`);
  }
  return count;
}

if (import.meta.main) {
  await runMain(async () => {
    // A task runs in the repository's folder; paths the user types are meant from the user's.
    const callerFolder = Deno.env.get("INIT_CWD");
    if (callerFolder) Deno.chdir(callerFolder);
    const [command] = Deno.args;
    if (command !== undefined && PLANNED.includes(command)) {
      throw new UsageError(`"${command}" is not in this version yet`);
    }
    let status = 0;
    await program((code) => status = code).parseAsync(Deno.args, { from: "user" });
    return status;
  });
}
