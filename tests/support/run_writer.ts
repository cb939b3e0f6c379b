/**
 * A writer to be killed. Arguments: root, name of the run, and what to do:
 * `grow` saves step after step, `replace` the same step with new content, `hold` only holds the
 * lock, `fill` saves more than the disk takes. It says on stdout what it has finished.
 *
 * @module
 */

import { CannotError } from "../../src/config/cannot.ts";
import { RunWriter } from "../../src/run/run_folder.ts";
import { checkpointFiles, runInfo } from "./runs.ts";

const [root, name, mode] = Deno.args as [string, string, string];
const isNew = await Deno.stat(`${root}/${name}/run.json`).then(() => false, () => true);
const run = isNew
  ? await RunWriter.create(root, name, runInfo())
  : await RunWriter.open(root, name);

let done = 0;
if ((await run.steps()).length > 0) {
  const last = await run.checkpoint("last");
  await run.rewindTo(last);
  done = await last.json("trainer/state.json") as number;
}
console.log(`open ${done}`);
if (mode === "hold") await new Promise((resolve) => setTimeout(resolve, 1e9));
if (mode === "fill") {
  await run.save({ step: 1, files: checkpointFiles(1) });
  const say = (error: unknown) =>
    console.log(error instanceof CannotError ? error.message : `not clear: ${error}`);
  await run.save({ step: 2, files: checkpointFiles(2, 4 << 20) }).catch(say);
  try {
    run.log({ step: 1, text: "x".repeat(4 << 20) });
  } catch (error) {
    say(error);
  }
  run.log({ step: 2 });
  console.log(`metrics ${JSON.stringify(await run.metrics())}`);
  const names = Array.from(Deno.readDirSync(`${root}/${name}/checkpoints`), (entry) => entry.name);
  console.log(`left ${names.sort().join(" ")}`);
  console.log(`current ${(await run.checkpoint("current")).step}`);
  Deno.exit();
}
while (true) {
  done++;
  run.log({ step: done, "train/loss": 1 / done });
  const step = mode === "grow" ? done : 7;
  await run.save({ step, files: checkpointFiles(done), score: Math.abs(done - 5) });
  console.log(`saved ${done}`);
}
