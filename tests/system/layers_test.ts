import { assert, assertEquals } from "@std/assert";
import { ROOT, systemTest } from "../support/system.ts";

// Parts without a GPU in them; importable from the model upward, and by one another.
const PURE = ["config", "random", "tokenizer", "data", "prompt", "feedback", "run"];

// Each layer, and the layers its files may import beside their own. Types count as well: a type
// that is named is knowledge of the other layer.
const GPU = ["ops", "gpu"];
const MODEL = ["model", ...GPU, ...PURE];
const INFER = ["infer", ...MODEL];
const TRAIN = ["train", ...INFER];
const RUNTIME = ["runtime", ...TRAIN];
const ROUTES = ["routes", ...RUNTIME];
const EVAL = ["eval", ...ROUTES];
const ARROWS: Record<string, readonly string[]> = {
  cli: ["exchange", ...EVAL],
  eval: ROUTES, // asks the routes as a client does, without a server
  routes: RUNTIME,
  runtime: TRAIN,
  train: INFER,
  infer: MODEL,
  exchange: ["model", ...PURE], // the table of tensors; no device
  model: [...GPU, ...PURE],
  ops: ["gpu"],
  gpu: [],
  ...Object.fromEntries(PURE.map((layer) => [layer, PURE])),
  std: [],
};

interface Module {
  path: string; // relative to the repository
  imports: { path: string; isRuntime: boolean }[];
}

/**
 * "src/gpu/device.ts" belongs to "gpu", "routes/chat.ts" to "routes", tests and benches to nothing.
 */
function layerOf(path: string): string | undefined {
  const [top, folder, file] = path.split("/");
  if (top === "routes") return top;
  return top === "src" && file !== undefined ? folder : undefined;
}

async function sourceFiles(folder: string): Promise<string[]> {
  const files: string[] = [];
  for await (const entry of Deno.readDir(new URL(folder, ROOT))) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory) files.push(...await sourceFiles(path));
    else if (entry.name.endsWith(".ts")) files.push(path);
  }
  return files.sort();
}

/** The import graph of all source files, as Deno sees it. */
async function modules(): Promise<Module[]> {
  const folders = ["src", "routes"].map((folder) => sourceFiles(folder).catch(() => []));
  const files = (await Promise.all(folders)).flat();
  // One root that imports every file: one process instead of one for each.
  const root = files.map((file) => `import ${JSON.stringify(new URL(file, ROOT).href)};`).join(
    "\n",
  );
  const { code, stdout, stderr } = await new Deno.Command("deno", {
    args: ["info", "--json", `data:application/typescript,${encodeURIComponent(root)}`],
    cwd: ROOT,
  }).output();
  assertEquals(code, 0, new TextDecoder().decode(stderr));
  const graph = JSON.parse(new TextDecoder().decode(stdout));
  const relative = (url: string) => url.startsWith(ROOT.href) ? url.slice(ROOT.href.length) : url;
  // deno-lint-ignore no-explicit-any
  return graph.modules.filter((module: any) => files.includes(relative(module.specifier))).map(
    // deno-lint-ignore no-explicit-any
    (module: any): Module => ({
      path: relative(module.specifier),
      // deno-lint-ignore no-explicit-any
      imports: (module.dependencies ?? []).map((dependency: any) => ({
        path: relative(dependency.code?.specifier ?? dependency.type?.specifier ?? ""),
        isRuntime: dependency.code !== undefined && !dependency.isDynamic,
      })),
    }),
  );
}

/** What is wrong with one import, or undefined. */
function fault(from: string, to: string): string | undefined {
  const layer = layerOf(from);
  if (layer === undefined || ARROWS[layer] === undefined) {
    return `${from}: no layer has this folder`;
  }
  if (/^(tests|bench)\//.test(to)) return `${from} imports ${to}: tests and benches are for no one`;
  const other = layerOf(to);
  if (other === undefined || other === layer || ARROWS[layer].includes(other)) return undefined;
  return `${from} imports ${to}: ${layer} may import ${
    ARROWS[layer].join(", ") || "no other layer"
  }`;
}

systemTest("source files import along the arrows between the layers", async () => {
  const graph = await modules();
  assert(graph.length > 0, "no source file was found");
  const faults = graph.flatMap(({ path, imports }) =>
    // A file without imports still has to be in a known layer.
    [path, ...imports.map((to) => to.path)].map((to) => fault(path, to))
  );
  assertEquals([...new Set(faults)].filter((text) => text !== undefined), []);
});

systemTest("source files do not import in a circle", async () => {
  const graph = new Map((await modules()).map((module) => [module.path, module]));
  const done = new Set<string>();
  const visit = (path: string, above: string[]): void => {
    assert(!above.includes(path), `a circle: ${[...above, path].join(" -> ")}`);
    if (done.has(path)) return;
    for (const to of graph.get(path)?.imports ?? []) {
      if (to.isRuntime) visit(to.path, [...above, path]);
    }
    done.add(path);
  };
  for (const path of graph.keys()) visit(path, []);
});

Deno.test("the table of layers refuses what goes against the arrows", () => {
  const refused: [string, string][] = [
    ["src/gpu/device.ts", "src/ops/matmul.ts"],
    ["src/ops/matmul.ts", "src/model/decoder.ts"],
    ["src/ops/matmul.ts", "src/config/preset.ts"],
    ["src/model/decoder.ts", "src/train/step.ts"],
    ["src/infer/scheduler.ts", "src/train/step.ts"],
    ["src/data/corpus.ts", "src/gpu/device.ts"],
    ["src/train/step.ts", "src/runtime/worker.ts"],
    ["routes/chat.ts", "src/cli/main.ts"],
    ["routes/chat.ts", "src/eval/evaluate.ts"],
    ["src/gpu/device.ts", "tests/support/close.ts"],
    ["src/utils/any.ts", "src/utils/other.ts"],
  ];
  for (const [from, to] of refused) assert(fault(from, to), `${from} -> ${to}`);
  const allowed: [string, string][] = [
    ["src/cli/main.ts", "routes/chat.ts"],
    ["src/eval/choice.ts", "routes/few_shot.ts"],
    ["src/cli/doctor.ts", "src/gpu/device.ts"],
    ["src/train/ppo.ts", "src/infer/scheduler.ts"],
    ["src/model/decoder.ts", "src/random/philox.ts"],
    ["src/data/corpus.ts", "src/tokenizer/bpe.ts"],
    ["src/ops/matmul.ts", "shaders/matmul.wgsl"],
    ["src/cli/main.ts", "npm:commander@15.1.0"],
  ];
  for (const [from, to] of allowed) assertEquals(fault(from, to), undefined);
});
