import { assert, assertEquals, assertThrows } from "@std/assert";
import { ApiError } from "../../../routes/errors.ts";
import { BoundedAdmission } from "../../../routes/operations/admission.ts";

function admission(options: { rate?: number } = {}): BoundedAdmission {
  const { rate = 100 } = options;
  return new BoundedAdmission({
    mostChoices: 4,
    mostTokens: 1000,
    tokensPerSecond: () => rate,
  });
}

Deno.test("BoundedAdmission counts choices and tokens until they are given back", () => {
  const bounded = admission();
  const first = bounded.admit({ choices: 3, tokens: 300 });
  const second = bounded.admit({ choices: 1, tokens: 700 });
  assertEquals([bounded.choices, bounded.tokens], [4, 1000]);
  first();
  first(); // a second time changes nothing
  assertEquals([bounded.choices, bounded.tokens], [1, 700]);
  second();
  assertEquals([bounded.choices, bounded.tokens], [0, 0]);
});

for (
  const { name, work } of [
    { name: "choices", work: { choices: 4, tokens: 1 } },
    { name: "tokens", work: { choices: 1, tokens: 901 } },
  ]
) {
  Deno.test(`BoundedAdmission refuses too many ${name}, whole`, () => {
    const bounded = admission({ rate: 50 });
    bounded.admit({ choices: 1, tokens: 100 });
    const error = assertThrows(() => bounded.admit(work), ApiError);
    assertEquals([error.status, error.type, error.code], [429, "overloaded", "overloaded"]);
    assertEquals(error.retryAfterMs, 2_000); // 100 tokens of one text at 50 a second
    assertEquals([bounded.choices, bounded.tokens], [1, 100]);
  });
}

Deno.test("BoundedAdmission says when to come again within bounds", () => {
  const waitOf = (rate: number) => {
    const bounded = admission({ rate });
    bounded.admit({ choices: 4, tokens: 1000 });
    return assertThrows(() => bounded.admit({ choices: 1, tokens: 1 }), ApiError).retryAfterMs;
  };
  assertEquals(waitOf(0), 1_000); // nothing measured yet
  assertEquals(waitOf(1e9), 100);
  assertEquals(waitOf(0.001), 60_000);
});

Deno.test("BoundedAdmission takes a request over the bounds when nothing else is there", () => {
  const bounded = admission();
  const release = bounded.admit({ choices: 128, tokens: 1e6 });
  assertThrows(() => bounded.admit({ choices: 1, tokens: 1 }), ApiError);
  release();
  bounded.admit({ choices: 1, tokens: 1 });
});

Deno.test("BoundedAdmission is idle when the last request has ended", async () => {
  const bounded = admission();
  await bounded.idle();
  const [first, second] = [1, 2].map((choices) => bounded.admit({ choices, tokens: 1 }));
  let isIdle = false;
  const idle = bounded.idle().then(() => isIdle = true);
  first!();
  await new Promise((resolve) => setTimeout(resolve, 0));
  assertEquals(isIdle, false);
  second!();
  await idle;
});

Deno.test("BoundedAdmission admits nothing once it is closed", () => {
  const bounded = admission();
  const error = new ApiError(503, "draining");
  bounded.close(error);
  assert(assertThrows(() => bounded.admit({ choices: 1, tokens: 1 }), ApiError) === error);
  bounded.close(undefined);
  bounded.admit({ choices: 1, tokens: 1 });
});
