import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { CannotError } from "../../src/config/cannot.ts";
import { PhiloxStream } from "../../src/random/philox.ts";
import { recover, writeFileAtomic, writeFolderAtomic } from "../../src/run/atomic.ts";
import { type Checkpoint, openCheckpoint } from "../../src/run/checkpoint.ts";
import { Lock } from "../../src/run/lock.ts";
import { MetricsLog, parseMetrics } from "../../src/run/metrics.ts";
import {
  freeRunName,
  listRuns,
  newestRun,
  Run,
  runsRoot,
  RunWriter,
} from "../../src/run/run_folder.ts";
import { openSafetensors } from "../../src/run/safetensors.ts";
import { filesIn, linesOf, program, start, withFolder } from "../support/files.ts";
import { checkpointFiles, runInfo } from "../support/runs.ts";
import { systemTest } from "../support/system.ts";

const WRITER = new URL("../support/run_writer.ts", import.meta.url);

/** The number that all files of a checkpoint say. */
async function valueOf(checkpoint: Checkpoint): Promise<number> {
  const value = await checkpoint.json("trainer/state.json") as number;
  assertEquals(await checkpoint.json("config.json"), { value });
  assertEquals(await checkpoint.text("notes.txt"), `${value}\n`);
  for (const [file, name] of [["model", "a"], ["model", "b"], ["trainer/moments", "m"]] as const) {
    const tensors = checkpoint.tensors(`${file}.safetensors`);
    assert(tensors.floats(name).every((x) => x === value), `${file} has ${value} everywhere`);
    tensors.close();
  }
  return value;
}

async function leftovers(folder: string): Promise<string[]> {
  return (await filesIn(folder)).filter((path) => /\/\.(tmp|old)-/.test(path));
}

systemTest("a run keeps its lineage, metrics and checkpoints", async () => {
  await withFolder(async (root) => {
    const run = await RunWriter.create(root, "first", runInfo());
    for (let step = 1; step <= 6; step++) {
      run.log({ step, "train/loss": step === 3 ? NaN : 1 / step });
      await run.save({ step, files: checkpointFiles(step), score: step === 2 ? 0.5 : step });
    }
    await run.writeText("samples.txt", "Once\n");
    const other = await Run.open(root, "first"); // another reader, while it is being written
    assertEquals(other.info, runInfo());
    assertEquals(await other.steps(), [2, 5, 6]); // the best and the last two
    assertEquals((await other.checkpoint()).step, 6);
    assertEquals((await other.checkpoint("best")).step, 2);
    assertEquals((await other.checkpoint("last", { verify: "size" })).step, 6);
    assertEquals(await valueOf(await other.checkpoint(5)), 5);
    assertEquals((await other.metrics()).map((m) => m["train/loss"]), [
      1,
      1 / 2,
      null,
      1 / 4,
      1 / 5,
      1 / 6,
    ]);
    await assertRejects(
      () => other.checkpoint(4),
      CannotError,
      'Cannot open a checkpoint of run "first": want step 4: it has 2, 5, 6',
    );
    run.close();
    assertEquals(await leftovers(root), []);
  });
});

systemTest(
  "a run goes back to a checkpoint: metrics and checkpoints after it are gone",
  async () => {
    await withFolder(async (root) => {
      const keep = { last: 9 };
      let run = await RunWriter.create(root, "a", runInfo());
      for (let step = 1; step <= 4; step++) {
        run.log({ step, loss: step });
        await run.save({ step, files: checkpointFiles(step), keep });
        run.log({ step, "val/loss": step }); // after the checkpoint, at its step
      }
      run.close();
      await Deno.writeTextFile(`${root}/a/metrics.jsonl`, '{"step":5,"lo', { append: true });

      run = await RunWriter.open(root, "a");
      assertEquals((await run.metrics()).length, 8);
      await run.rewindTo(await run.checkpoint(2));
      assertEquals(await run.steps(), [1, 2]);
      assertEquals(await run.currentStep(), 2);
      const want = [{ step: 1, loss: 1 }, { step: 1, "val/loss": 1 }, { step: 2, loss: 2 }];
      assertEquals(await run.metrics(), want);
      run.log({ step: 3, loss: 33 });
      assertEquals(await run.metrics(), [...want, { step: 3, loss: 33 }]);
      await run.rewindToStart();
      assertEquals([await run.steps(), await run.metrics()], [[], []]);
      assertEquals(await run.currentStep(), undefined);
      run.close();
    });
  },
);

systemTest("runs are listed, the newest first; names are checked", async () => {
  await withFolder(async (root) => {
    await assertRejects(() => newestRun(root), CannotError, "there is no run");
    for (const [name, day, isSaved] of [["b", 3, true], ["a", 5, false], ["c", 4, true]] as const) {
      const run = await RunWriter.create(
        root,
        name,
        runInfo({ createdAt: `2026-01-0${day}T00:00:00Z` }),
      );
      if (isSaved) await run.save({ step: 1, files: checkpointFiles(1) });
      run.close();
    }
    await Deno.mkdir(`${root}/other`);
    await Deno.writeTextFile(`${root}/file`, "");
    assertEquals((await listRuns(root)).map((run) => run.name), ["a", "c", "b"]);
    assertEquals((await newestRun(root)).name, "c");
    assertEquals(await freeRunName(root, "z"), "z");
    assertEquals(await freeRunName(root, "a"), "a-2");
    assertEquals(await listRuns(`${root}/none`), []);

    const exists = () => RunWriter.create(root, "a", runInfo());
    await assertRejects(exists, CannotError, `Cannot make run "a": want a name that is free: `);
    for (const name of ["", ".", "..", "../x", "a/b", ".data", "a b"]) {
      const message = "want a name of letters, digits, dots, dashes and underscores";
      await assertRejects(() => RunWriter.create(root, name, runInfo()), CannotError, message);
      await assertRejects(() => Run.open(root, name), CannotError, message);
    }
    await assertRejects(() => Run.open(root, "no"), CannotError, "there is no such run in ");
    await assertRejects(() => RunWriter.open(root, "no"), CannotError, "there is no such run in ");
    await Deno.writeTextFile(`${root}/a/run.json`, "{");
    await assertRejects(() => Run.open(root, "a"), CannotError, "want JSON in ");
    await Deno.writeTextFile(`${root}/a/run.json`, '{"version": 2}');
    await assertRejects(() => Run.open(root, "a"), CannotError, "version: Invalid input");
  });
});

systemTest(
  "a checkpoint that is cut off or altered anywhere is refused, naming the file",
  async () => {
    await withFolder(async (root) => {
      const run = await RunWriter.create(root, "a", runInfo());
      await run.save({ step: 3, files: checkpointFiles(3, 20) });
      run.close();
      const folder = `${root}/a/checkpoints/3`;
      const stream = new PhiloxStream(1);
      for (const path of await filesIn(folder)) {
        const name = path.slice(path.lastIndexOf("/") + 1);
        const whole = await Deno.readFile(path);
        const refused = async (bytes: Uint8Array) => {
          await Deno.writeFile(path, bytes);
          const error = await assertRejects(() => openCheckpoint(folder), CannotError);
          assertStringIncludes(error.message, `Cannot read checkpoint ${folder}: want `);
          assertStringIncludes(error.message, name);
        };
        for (let round = 0; round < 40; round++) {
          const altered = whole.slice();
          altered[stream.integer(whole.length)]! ^= 1 + stream.integer(255);
          await refused(altered);
          await refused(whole.subarray(0, stream.integer(whole.length)));
        }
        await refused(Uint8Array.from([...whole, 0x0a]));
        await Deno.remove(path);
        await assertRejects(() => openCheckpoint(folder), CannotError, name);
        await Deno.writeFile(path, whole);
        assertEquals(await valueOf(await openCheckpoint(folder)), 3);
      }
      await Deno.rename(folder, `${root}/a/checkpoints/4`);
      const moved = () => openCheckpoint(`${root}/a/checkpoints/4`);
      await assertRejects(moved, CannotError, "want step 4: it is of step 3");
    });
  },
);

systemTest("a checkpoint has no files but its own", async () => {
  await withFolder(async (root) => {
    const run = await RunWriter.create(root, "a", runInfo());
    for (const path of ["../x", "/x", "a//b", "", "manifest.json", ".hidden", "a/../b"]) {
      const save = () => run.save({ step: 1, files: [{ path, text: "" }] });
      await assertRejects(save, RangeError, "want names of its own");
    }
    const twice = [{ path: "x", text: "" }, { path: "x", text: "" }];
    await assertRejects(() => run.save({ step: 1, files: twice }), RangeError, '"x"');
    const failing = [{
      path: "x.safetensors",
      tensors: [{
        name: "x",
        dtype: "f32" as const,
        shape: [1],
        bytes: () => Promise.reject(new Error("device lost")),
      }],
    }];
    await assertRejects(() => run.save({ step: 1, files: failing }), Error, "device lost");
    assertEquals(await run.steps(), []);
    assertEquals(await leftovers(root), []);
    run.close();
  });
});

systemTest("a second writer is refused, naming the first, until that one is gone", async () => {
  await withFolder(async (root) => {
    const first = await RunWriter.create(root, "a", runInfo());
    const message =
      `Cannot write run "a": want no other writer: process ${Deno.pid} has been writing`;
    await assertRejects(() => RunWriter.open(root, "a"), CannotError, message);
    first.close();
    (await RunWriter.open(root, "a")).close();

    for (let round = 0; round < 3; round++) {
      const child = start(WRITER, [root, "a", "hold"]);
      const lines = linesOf(child);
      assertEquals((await lines.next()).value, "open 0");
      const open = () => RunWriter.open(root, "a");
      await assertRejects(open, CannotError, `process ${child.pid} has been writing since 20`);
      child.kill("SIGKILL");
      await child.status;
      for await (const _ of lines); // to its end
      (await open()).close();
    }
  });
});

systemTest("Lock.take() is right also when the holder has not said its name yet", async () => {
  await withFolder((root) => {
    const path = `${root}/lock`;
    const lock = Lock.take(path, "x");
    Deno.truncateSync(path);
    assertThrows(() => Lock.take(path, "write it"), CannotError, "has just started");
    lock.release();
    lock.release();
    Lock.take(path, "x").release();
  });
});

for (const mode of ["grow", "replace"] as const) {
  systemTest(`kill -9 at any instant leaves whole checkpoints (${mode})`, async () => {
    await withFolder(async (root) => {
      const stream = new PhiloxStream(mode === "grow" ? 1 : 2);
      let [acknowledged, inMidSave] = [0, 0];
      for (let round = 0; round < 20; round++) {
        const child = start(WRITER, [root, "a", mode]);
        const reached = Promise.withResolvers<void>();
        let linesToWaitFor = 1 + stream.integer(4); // "open", and so many saves
        const reading = (async () => {
          for await (const line of linesOf(child)) {
            const [word, value] = line.split(" ");
            // Nothing that was said to be saved is lost.
            if (word === "open") assert(Number(value) >= acknowledged, `${value}`);
            acknowledged = Math.max(acknowledged, Number(value));
            if (--linesToWaitFor === 0) reached.resolve();
          }
        })();
        await Promise.race([reached.promise, reading]);
        await new Promise((resolve) => setTimeout(resolve, stream.uniform() * 30));
        child.kill("SIGKILL");
        await child.status;
        await reading;

        if ((await leftovers(`${root}/a`)).length > 0) inMidSave++;
        // As another process sees it, before any writer has cleaned up.
        const seen = await Run.open(root, "a");
        const steps = await seen.steps();
        for (const step of steps) {
          const value = await valueOf(await seen.checkpoint(step));
          if (mode === "grow") assertEquals(value, step);
        }
        if (acknowledged > 0) {
          const last = await valueOf(await seen.checkpoint("last"));
          assert(last === acknowledged || last === acknowledged + 1, `${last}, ${acknowledged}`);
          assert(steps.includes((await seen.checkpoint()).step));
        }
        const metrics = await seen.metrics();
        assertEquals(metrics.map((m) => m.step), metrics.map((_, i) => i + 1));
        assert(metrics.length >= acknowledged, `${metrics.length} lines, ${acknowledged}`);
      }
      const run = await RunWriter.open(root, "a");
      assertEquals(await leftovers(`${root}/a`), []);
      await valueOf(await run.checkpoint("last"));
      run.close();
      assert(acknowledged >= 20 && inMidSave > 0, `${acknowledged} saves, ${inMidSave} cut off`);
    });
  });
}

systemTest(
  "a folder in mid-replacement is found by readers and ended by the next writer",
  async () => {
    await withFolder(async (root) => {
      const run = await RunWriter.create(root, "a", runInfo());
      await run.save({ step: 7, files: checkpointFiles(1) });
      run.close();
      const folder = `${root}/a/checkpoints`;
      // Killed between the two renames: the old one is aside, the new one still a draft.
      await Deno.rename(`${folder}/7`, `${folder}/.old-7`);
      await Deno.mkdir(`${folder}/.tmp-1-0-7`);
      await Deno.writeTextFile(`${folder}/.tmp-1-0-7/config.json`, "{");
      const seen = await Run.open(root, "a");
      assertEquals(await seen.steps(), [7]);
      assertEquals(await valueOf(await seen.checkpoint()), 1);
      (await RunWriter.open(root, "a")).close();
      assertEquals(Array.from(Deno.readDirSync(folder), (entry) => entry.name), ["7"]);
      // Killed after both: the new one is in place, the old one not yet gone.
      await Deno.mkdir(`${folder}/.old-7`);
      await recover(folder);
      assertEquals(Array.from(Deno.readDirSync(folder), (entry) => entry.name), ["7"]);
      assertEquals(await valueOf(await seen.checkpoint()), 1);
    });
  },
);

systemTest(
  "a full disk in mid-save keeps the checkpoint before, and says so in one line",
  async () => {
    await withFolder(async (root) => {
      const deno = (folder: string) =>
        ["exec", "deno", ...program(WRITER, [folder, "a", "fill"])].map((arg) => `'${arg}'`).join(
          " ",
        )
          .replace("'exec'", "exec");
      // A limit on the size of a file stands for a full disk; a small disk where one can be
      // mounted without asking.
      const scripts = [`trap '' XFSZ; ulimit -f 2000; ${deno(root)}`];
      const mount = `mount -t tmpfs -o size=1m none '${root}'`;
      const small = new Deno.Command("sh", {
        args: ["-c", `unshare -rm sh -c "${mount}"`],
        stderr: "null",
      });
      if ((await small.output()).success) {
        scripts.push(`exec unshare -rm sh -c "${mount} && ${deno(root)}"`);
      }
      for (const script of scripts) {
        const { stdout, stderr } = await new Deno.Command("sh", { args: ["-c", script] }).output();
        const printed = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
        assertEquals(printed.split("\n"), [
          "open 0",
          `Cannot write ${root}/a/checkpoints/2: want room on the disk: ` +
          "the disk is full; what was there before is kept",
          `Cannot write ${root}/a/metrics.jsonl: want room on the disk: the disk is full`,
          'metrics [{"step":2}]',
          "left 1",
          "current 1",
          "",
        ]);
        await Deno.remove(`${root}/a`, { recursive: true }).catch(() => {});
      }
    });
  },
);

systemTest("runsRoot() takes the option, then BRACHIO_RUNS, then runs", () => {
  const before = Deno.env.get("BRACHIO_RUNS");
  Deno.env.set("BRACHIO_RUNS", "elsewhere");
  assertEquals([runsRoot("here"), runsRoot(), runsRoot("")], ["here", "elsewhere", "elsewhere"]);
  Deno.env.delete("BRACHIO_RUNS");
  assertEquals(runsRoot(), "runs");
  if (before !== undefined) Deno.env.set("BRACHIO_RUNS", before);
});

systemTest("MetricsLog drops a torn end, and only that", async () => {
  await withFolder((root) => {
    const path = `${root}/metrics.jsonl`;
    const lines = '{"step":1,"loss":2}\n{"step":2}\n';
    for (
      const torn of ["", '{"step":3', "\0\0\0\0", "\0\0\n", '{"loss":1}\n', "\n", "7\n", "x\ny\nz"]
    ) {
      Deno.writeTextFileSync(path, lines + torn);
      assertEquals(parseMetrics(lines + torn, path).map((m) => m.step), [1, 2]);
      const log = new MetricsLog(path);
      assertEquals(log.sizeBytes, lines.length, JSON.stringify(torn));
      log.append({ step: 3, text: "é\n" });
      log.close();
      assertEquals(Deno.readTextFileSync(path), lines + '{"step":3,"text":"é\\n"}\n');
    }
    for (const torn of ["", "x", "\n", "\0\n"]) {
      Deno.writeTextFileSync(path, torn);
      const log = new MetricsLog(path);
      assertEquals([log.sizeBytes, Deno.statSync(path).size], [0, 0]);
      log.close();
    }
    const middle = () => parseMetrics('{"step":1}\nx\n{"step":2}\n', "m.jsonl");
    assertThrows(
      middle,
      CannotError,
      "Cannot read m.jsonl: want JSON with a step in line 2: got x",
    );
  });
});

systemTest("writing where nothing can be written ends with one clear line", async () => {
  await withFolder(async (root) => {
    const write = () => writeFileAtomic(`${root}/none/file`, "x");
    await assertRejects(
      write,
      CannotError,
      `Cannot write ${root}/none/file: want a folder that can be written: no such file or folder`,
    );
    await Deno.writeTextFile(`${root}/file`, "");
    await assertRejects(
      () => writeFolderAtomic(`${root}/file/x`, () => Promise.resolve()),
      CannotError,
      "a part of the path is not a folder",
    );
    await assertRejects(() => RunWriter.create(`${root}/file`, "a", runInfo()), CannotError);
    assertThrows(() => openSafetensors(`${root}/no`), CannotError, "no such file");
    assertThrows(() => openSafetensors(root), CannotError, "Cannot read ");
  });
});
