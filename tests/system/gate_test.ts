import { assert } from "@std/assert";
import { ROOT, systemTest } from "../support/system.ts";

// The parts of `deno task ok`, so that one command runs all that must hold.
for (const task of ["fmt:check", "lint", "check", "doc:lint", "doc:test"]) {
  systemTest(`deno task ${task} finds nothing`, async () => {
    const { code, stdout, stderr } = await new Deno.Command("deno", {
      args: ["task", "--quiet", task],
      cwd: ROOT,
      env: { NO_COLOR: "1", FORCE_COLOR: "" },
    }).output();
    const printed = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
    assert(code === 0, `\n${printed.slice(-4000)}`);
  });
}
