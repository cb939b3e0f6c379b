import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { CannotError } from "../../src/config/cannot.ts";
import { type Answer, FunctionReward, HttpReward } from "../../src/train/ppo_reward.ts";
import { withFolder } from "../support/files.ts";
import { systemTest } from "../support/system.ts";

function answers(...responses: string[]): Answer[] {
  const [promptIds, responseIds] = [Uint32Array.of(1), Uint32Array.of(2)];
  return responses.map((response) => ({
    messages: [{ role: "user", content: "why" }],
    prompt: "why",
    response,
    promptIds,
    responseIds,
  }));
}

type Handler = (body: { messages: unknown; completions: [string] }) => Response | Promise<Response>;

/** A server that answers, for the time of a test. */
async function withServer(
  handler: Handler,
  use: (url: string) => Promise<void>,
): Promise<void> {
  const options = { port: 0, hostname: "127.0.0.1", onListen: () => {} };
  const server = Deno.serve(options, async (request) => handler(await request.json()));
  try {
    await use(`http://127.0.0.1:${server.addr.port}/v1/reward`);
  } finally {
    await server.shutdown();
  }
}

const OPTIONS = { timeoutMs: 150, pauseMs: 1 };
const give = (reward: unknown) => Response.json({ results: [{ index: 0, reward }] });

systemTest("HttpReward asks once a response, and keeps their order", async () => {
  let most = 0;
  let open = 0;
  const handler: Handler = async ({ messages, completions: [text] }) => {
    most = Math.max(most, ++open);
    assertEquals(messages, [{ role: "user", content: "why" }]);
    await new Promise((resolve) => setTimeout(resolve, 20 - text.length));
    open--;
    return give(text.length);
  };
  await withServer(handler, async (url) => {
    const texts = Array.from({ length: 40 }, (_, i) => "a".repeat(i % 20));
    const rewards = await new HttpReward(url, OPTIONS).score(answers(...texts));
    assertEquals([...rewards], texts.map(({ length }) => length));
    assertEquals(most <= 16 && most > 1, true, `${most}`);
  });
});

systemTest("HttpReward tries again what may get better, and not what will not", async () => {
  let calls = 0;
  await withServer(
    () => ++calls < 3 ? new Response("busy", { status: 503 }) : give(2),
    async (url) => {
      assertEquals([...await new HttpReward(url, OPTIONS).score(answers("a"))], [2]);
      assertEquals(calls, 3);
    },
  );
  calls = 0;
  const refuse = () => {
    calls++;
    return new Response("no such model", { status: 404 });
  };
  await withServer(refuse, async (url) => {
    const reward = new HttpReward(url, OPTIONS);
    const error = await assertRejects(() => reward.score(answers("a")), CannotError);
    assertStringIncludes(error.message, `${url}: want rewards within 150 ms: it answered 404`);
    assertEquals(calls, 1);
  });
});

systemTest("HttpReward says what an endpoint did that gave no rewards", async () => {
  const cases: [Handler, string][] = [
    [() => new Response("rewards are great"), 'it answered "rewards are great"'],
    [() => Response.json({ score: 1 }), 'it answered {"score":1}'],
    [() => give("high"), "it answered {"],
    [() => give(null), "it answered {"],
    [() => new Response("broken", { status: 500 }), "it answered 500: broken"],
    [
      async () => {
        await new Promise((resolve) => setTimeout(resolve, 250));
        return give(1);
      },
      "it did not answer in time",
    ],
  ];
  for (const [handler, want] of cases) {
    await withServer(handler, async (url) => {
      const reward = new HttpReward(url, OPTIONS);
      const error = await assertRejects(() => reward.score(answers("a", "b")), CannotError);
      assertStringIncludes(error.message, want);
    });
  }
  const nobody = new HttpReward("http://127.0.0.1:9/v1/reward", OPTIONS);
  await assertRejects(() => nobody.score(answers("a")), CannotError, "Cannot take the rewards of");
});

systemTest("FunctionReward takes modules with a function, typed or not", async () => {
  await withFolder(async (root) => {
    const open = async (name: string, text: string) => {
      await Deno.writeTextFile(`${root}/${name}`, text);
      return await FunctionReward.open(`${root}/${name}`);
    };
    const typed = await open(
      "a b.ts",
      "export default (answers: { response: string }[]): number[] =>\n" +
        "  answers.map(({ response }) => response.length);\n",
    );
    assertEquals([...await typed.score(answers("", "abc"))], [0, 3]);
    const later = await open("b.js", "export default async (all) => Float32Array.of(0.5);");
    assertEquals([...await later.score(answers("x"))], [0.5]);
    await assertRejects(
      () => open("c.ts", "export const reward = 1;"),
      CannotError,
      "is undefined",
    );
    await assertRejects(
      () => open("d.ts", "export default 1;"),
      CannotError,
      "its default is number",
    );
    await assertRejects(() => open("e.ts", "export default ("), CannotError, "want a module whose");
    const gone = FunctionReward.open(`${root}/none.ts`);
    await assertRejects(() => gone, CannotError, "Cannot take rewards from");
  });
});
