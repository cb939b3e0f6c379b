import { assertEquals, assertMatch } from "@std/assert";
import { CommanderError } from "commander";
import { describeFailure, UsageError } from "../../src/cli/errors.ts";
import { NoAdapterError } from "../../src/gpu/adapter.ts";

Deno.test("describeFailure() gives what the user can cure one line and status 2", () => {
  assertEquals(describeFailure(new UsageError("--steps must be\n  positive")), {
    line: "--steps must be; positive",
    status: 2,
  });
  assertEquals(describeFailure(new CommanderError(1, "code", "error: unknown option '--x'")), {
    line: "unknown option '--x'",
    status: 2,
  });
  assertEquals(describeFailure(new Deno.errors.NotFound("No such file: a.txt")).status, 2);
  assertEquals(describeFailure(new NoAdapterError("none found")).status, 2);
});

Deno.test("describeFailure() keeps quiet about help, and has status 1 for the unexpected", () => {
  assertEquals(describeFailure(new CommanderError(0, "commander.help", "(outputHelp)")), {
    line: undefined,
    status: 0,
  });
  for (const thrown of [new TypeError("x is undefined"), "x is undefined"]) {
    const { line, status } = describeFailure(thrown);
    assertEquals(status, 1);
    assertMatch(line ?? "", /^x is undefined .*BRACHIO_DEBUG=1/);
  }
});
