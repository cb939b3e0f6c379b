import { assertEquals, assertThrows } from "@std/assert";
import { FewShotTemplate } from "../../src/prompt/few_shot_template.ts";

const SHOTS = [{ input: "a", output: "x" }, { input: "b", output: "\ty" }];

Deno.test("a template without options has lines, and blank ones between examples", () => {
  const template = new FewShotTemplate();
  assertEquals(template.prompt({ shots: SHOTS, input: "c" }), "a\nx\n\nb\n\ty\n\nc\n");
  assertEquals(template.prompt({ shots: [], input: "" }), "\n");
});

Deno.test("an instruction stands first, and the separator after it", () => {
  const template = new FewShotTemplate({ separator: "\n--\n", outputPrefix: "=>" });
  const parts = { shots: SHOTS.slice(0, 1), input: "c" };
  assertEquals(
    template.prompt({ instruction: "Do it.", ...parts }),
    "Do it.\n--\na\n=> x\n--\nc\n=>",
  );
  assertEquals(template.prompt({ instruction: "", ...parts }), "a\n=> x\n--\nc\n=>");
});

Deno.test("a format is the whole example; its end is of solved ones only", () => {
  const template = new FewShotTemplate({ format: "<{input}> is '{output}'.", separator: "\n" });
  assertEquals(
    template.prompt({ shots: SHOTS, input: "c {output}" }),
    "<a> is 'x'.\n<b> is '\ty'.\n<c {output}> is '",
    "an input is not looked at",
  );
});

Deno.test("an answer has one piece of white space before it", () => {
  for (
    const [options, text, want] of [
      [{}, "yes", "yes"], // a new line is before it
      [{ outputPrefix: "A:" }, "yes", " yes"],
      [{ outputPrefix: "A: " }, "yes", "yes"],
      [{ outputPrefix: "A:" }, "\nyes", "\nyes"],
      [{ outputPrefix: "A:", delimiter: "" }, "yes", "yes"],
      [{ outputPrefix: "A:", delimiter: "_" }, "yes", "_yes"],
      [{ format: "{input}={output}" }, "yes", "yes"],
      [{ format: "{input}={output}", delimiter: " " }, "yes", " yes"],
    ] as const
  ) {
    assertEquals(new FewShotTemplate(options).answer(text), want);
  }
});

Deno.test("a format has both fields once, in order", () => {
  for (
    const [format, state] of [
      ["{input}", "{output} is there 0 times"],
      ["{output}", "{input} is there 0 times"],
      ["{input}{input}{output}", "{input} is there 2 times"],
      ["{output} {input}", "{output} comes first"],
      ["", "{input} is there 0 times"],
    ] as const
  ) {
    assertThrows(() => new FewShotTemplate({ format }), RangeError, state);
  }
});
