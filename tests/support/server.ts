/**
 * `brachio serve` in a process of its own, as its task starts it.
 *
 * @module
 */
import config from "../../deno.json" with { type: "json" };
import { linesOf } from "./files.ts";
import { ROOT } from "./system.ts";

/** A server that runs. */
export interface Server {
  /** Without a slash at its end. */
  readonly url: string;
  /** The process. */
  readonly child: Deno.ChildProcess;
  /** Sends a signal and waits for the end. @returns the exit status */
  stop(signal?: Deno.Signal): Promise<number>;
  /** Lines of the log so far. */
  readonly log: string[];
}

/**
 * The command that the task of `deno.json` runs, without the task's own process: a signal would not
 * always reach the server through that.
 */
export function serveCommand(root: string, args: readonly string[]): Deno.Command {
  const [program, ...taskArgs] = config.tasks.serve.split(" ");
  return new Deno.Command(program!, {
    args: [...taskArgs, ...args],
    cwd: ROOT,
    env: { NO_COLOR: "1", FORCE_COLOR: "", INIT_CWD: ROOT.pathname, BRACHIO_RUNS: root },
    stdout: "piped",
    stderr: "piped",
  });
}

/** Starts a server over the runs of a folder, and waits until it is ready. */
export async function startServer(root: string, args: readonly string[] = []): Promise<Server> {
  const child = serveCommand(root, ["--port", "0", ...args]).spawn();
  const log: string[] = [];
  const logged = (async () => {
    let held = "";
    for await (const text of child.stderr.pipeThrough(new TextDecoderStream())) {
      const lines = (held + text).split("\n");
      held = lines.pop()!;
      log.push(...lines);
    }
  })();
  const lines = linesOf(child);
  let url: string | undefined;
  while (url === undefined) {
    const { value, done } = await lines.next();
    if (done) {
      await logged;
      throw new Error(`Cannot start the server: a line with its address: ${log.join("; ")}`);
    }
    url = /^(http:\S+)\/v1 /.exec(value)?.[1];
  }
  const printed = (async () => {
    while (!(await lines.next()).done);
  })();
  return {
    url,
    child,
    log,
    async stop(signal = "SIGTERM") {
      try {
        child.kill(signal);
      } catch {
        // it has ended already
      }
      const { code } = await child.status;
      await Promise.all([logged, printed]);
      return code;
    },
  };
}

/** Sends JSON. */
export function postJson(
  url: string,
  body: unknown,
  init: RequestInit = {},
): Promise<Response> {
  return fetch(url, {
    method: "POST",
    body: JSON.stringify(body),
    ...init,
    headers: { "content-type": "application/json", ...init.headers as Record<string, string> },
  });
}
