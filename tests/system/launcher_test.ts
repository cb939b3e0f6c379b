import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { fileURLToPath } from "node:url";
import { ROOT, systemTest } from "../support/system.ts";

const LAUNCHER = fileURLToPath(new URL("brachio", ROOT));

// What the script uses of a system beside the shell; a machine of these tests has nothing else.
const TOOLS = ["cat", "chmod", "dirname", "env", "mkdir", "mktemp", "readlink", "sh", "touch"];

// A Deno that has an adapter once the file $MACHINE/driver is there, and shows how it was started.
const deno = (version: string) =>
  `#!/bin/sh
case $1 in
  --version) echo "deno ${version} (stable, release, x86_64-unknown-linux-gnu)" ;;
  eval) if [ -e "$MACHINE/driver" ]; then echo adapter; fi ;;
  task)
    printf '%s\\n' "$@"
    echo "runtime=$XDG_RUNTIME_DIR"
    echo "vectors=$LP_NATIVE_VECTOR_WIDTH $MESA_SHADER_CACHE_DIR"
    exit 7
    ;;
esac
`;
const NPM = `#!/bin/sh
echo "npm $*" >>"$MACHINE/log"
case $1 in
  prefix) echo "$MACHINE/global" ;;
  install)
    folder=$MACHINE/global/lib/node_modules/deno/node_modules/@deno/any
    if [ "$5" = --prefix ]; then folder=$6/node_modules/@deno/any; fi
    mkdir -p "$folder"
    cat "$MACHINE/new-deno" >"$folder/deno"
    chmod +x "$folder/deno"
    ;;
esac
`;
const APT_GET = `#!/bin/sh
echo "apt-get $*" >>"$MACHINE/log"
if [ "$1" = install ]; then touch "$MACHINE/driver"; fi
`;

interface Machine {
  folder: string;
  run(args: string[], options?: { env?: Record<string, string>; script?: string }): Promise<{
    status: number;
    stdout: string;
    stderr: string;
    log: string;
  }>;
}

/**
 * Makes a folder that looks like a machine: `programs` are all that is on its PATH beside TOOLS.
 */
async function withMachine(
  programs: Record<string, string>,
  body: (machine: Machine) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "brachio launcher " });
  try {
    const bin = `${folder}/bin`;
    await Deno.mkdir(bin);
    await Deno.mkdir(`${folder}/global/lib/node_modules`, { recursive: true });
    await Deno.mkdir(`${folder}/global/bin`);
    await Deno.writeTextFile(`${folder}/new-deno`, deno("2.9.6"));
    for (const tool of TOOLS) await Deno.symlink(await which(tool), `${bin}/${tool}`);
    const scripts = {
      uname: "#!/bin/sh\necho Linux\n",
      sleep: "#!/bin/sh\n",
      id: USER,
      ...programs,
    };
    for (const [name, text] of Object.entries(scripts)) {
      await Deno.writeTextFile(`${bin}/${name}`, text, { mode: 0o755 });
    }
    await body({
      folder,
      run: async (args, { env = {}, script = LAUNCHER } = {}) => {
        const { code, stdout, stderr } = await new Deno.Command("sh", {
          // Deno looks for the shell on the PATH that it hands over, so the machine's comes after.
          args: ["-c", 'PATH=$MACHINE/bin exec sh "$@"', "sh", script, ...args],
          cwd: folder,
          clearEnv: true,
          env: { PATH: Deno.env.get("PATH")!, HOME: `${folder}/home`, MACHINE: folder, ...env },
        }).output();
        return {
          status: code,
          stdout: new TextDecoder().decode(stdout),
          stderr: new TextDecoder().decode(stderr),
          log: await Deno.readTextFile(`${folder}/log`).catch(() => ""),
        };
      },
    });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const USER = "#!/bin/sh\necho 1000\n";
const SUPERUSER = "#!/bin/sh\necho 0\n";

async function which(tool: string): Promise<string> {
  for (const folder of ["/bin", "/usr/bin", "/usr/local/bin"]) {
    const path = `${folder}/${tool}`;
    if (await Deno.stat(path).then(() => true, () => false)) return path;
  }
  throw new Error(`Cannot find ${tool}`);
}

systemTest("brachio without a command shows the commands, on a machine with nothing", async () => {
  await withMachine({}, async ({ run }) => {
    for (const args of [[], ["help"], ["--help"], ["-h"]]) {
      const { status, stdout, stderr } = await run(args);
      assertEquals([status, stderr], [0, ""]);
      for (const command of ["train", "generate", "serve", "bench", "test", "doctor"]) {
        assertMatch(stdout, new RegExp(`^  ${command} `, "m"));
      }
    }
  });
});

systemTest("brachio refuses an unknown command in one line", async () => {
  await withMachine({}, async ({ run }) => {
    const { status, stdout, stderr } = await run(["trian"]);
    assertEquals([status, stdout], [2, ""]);
    assertMatch(stderr, /^brachio: unknown command "trian".*\n$/);
  });
});

systemTest("brachio hands arguments, status and folders on, and is quiet", async () => {
  await withMachine({ deno: deno("2.9.0") }, async ({ run, folder }) => {
    await Deno.writeTextFile(`${folder}/driver`, "");
    const args = ["train", "a b", "", "$HOME", "*", "it's"];
    // Through two symbolic links, the second of them relative.
    await Deno.symlink(LAUNCHER, `${folder}/one`);
    await Deno.symlink("../one", `${folder}/bin/two`);
    for (const script of [LAUNCHER, "one", "bin/two"]) {
      const { status, stdout, stderr, log } = await run(args, { script });
      assertEquals([status, stderr, log], [7, "", ""]);
      const config = fileURLToPath(new URL("deno.json", ROOT));
      assertEquals(stdout.split("\n").slice(0, 10), [
        ...["task", "--quiet", "--config", config],
        ...args,
      ]);
      assertStringIncludes(stdout, `runtime=${folder}/home/.local/share/brachio/runtime\n`);
    }
    const own = await run(["train"], { env: { XDG_RUNTIME_DIR: "/run/own" } });
    assertStringIncludes(own.stdout, "runtime=/run/own\n");
  });
});

systemTest(
  "brachio asks the software driver for the widest vectors, each in a cache of its own",
  async () => {
    const { stdout } = await new Deno.Command("sh", { args: ["-c", "cat /proc/cpuinfo"] }).output();
    const flags = new TextDecoder().decode(stdout).match(/^flags.*$/m)?.[0].split(/\s+/) ?? [];
    const isWide = ["f", "bw", "dq", "vl"].every((part) => flags.includes(`avx512${part}`));
    await withMachine({ deno: deno("2.9.0") }, async ({ run, folder }) => {
      await Deno.writeTextFile(`${folder}/driver`, "");
      const cache = `${folder}/home/.local/share/brachio/shaders-512`;
      assertStringIncludes(
        (await run(["train"])).stdout,
        isWide ? `vectors=512 ${cache}\n` : "vectors= \n",
      );
      assertEquals(
        await Deno.stat(cache).then(({ isDirectory }) => isDirectory, () => false),
        isWide,
      );
      const own = await run(["train"], { env: { LP_NATIVE_VECTOR_WIDTH: "128" } });
      assertStringIncludes(own.stdout, "vectors=128 \n");
      const cached = await run(["train"], { env: { MESA_SHADER_CACHE_DIR: "/own" } });
      assertStringIncludes(cached.stdout, "vectors= /own\n");
    });
  },
);

systemTest("brachio brings Deno with npm where there is none, once", async () => {
  await withMachine({ npm: NPM }, async ({ run, folder }) => {
    await Deno.writeTextFile(`${folder}/driver`, "");
    const first = await run(["train"]);
    assertEquals(first.status, 7);
    assertMatch(first.stderr, /^brachio: installing Deno with npm install -g .*\n$/);
    const second = await run(["train"]);
    assertEquals([second.status, second.stderr], [7, ""]);
    assertEquals(second.log.match(/npm install/g)?.length, 1);
  });
});

systemTest("brachio leaves an older Deno as it is and brings its own", async () => {
  await withMachine({ npm: NPM, deno: deno("2.8.3") }, async ({ run, folder }) => {
    await Deno.writeTextFile(`${folder}/driver`, "");
    const { status, stderr } = await run(["train"]);
    assertEquals(status, 7);
    assertStringIncludes(stderr, `(under ${folder}/home/.local/share/brachio/deno)`);
    assertEquals((await run(["train"])).stderr, "");
  });
});

systemTest("brachio says what to do where it cannot bring Deno, or may not", async () => {
  await withMachine({}, async ({ run }) => {
    const { status, stderr } = await run(["train"]);
    assertEquals(status, 2);
    assertMatch(stderr, /^brachio: cannot bring Deno.*\n$/);
  });
  await withMachine({ npm: NPM }, async ({ run }) => {
    const { status, stderr, log } = await run(["train"], { env: { BRACHIO_NO_INSTALL: "1" } });
    assertEquals(status, 2);
    assertMatch(stderr, /^brachio: needs Deno 2\.9.*type: npm install -g deno\n$/);
    assert(!log.includes("install"));
  });
});

systemTest("brachio brings the software driver as root with apt-get", async () => {
  const programs = { deno: deno("3.0.0"), "apt-get": APT_GET, id: SUPERUSER };
  await withMachine(programs, async ({ run }) => {
    for (const args of [["doctor"], ["train", "--help"]]) {
      assertEquals((await run(args)).log, "", "neither needs an adapter");
    }
    const refused = await run(["train"], { env: { BRACHIO_NO_INSTALL: "1" } });
    assertEquals([refused.status, refused.log], [2, ""]);
    const { status, stderr, log } = await run(["train"]);
    assertEquals(status, 7);
    assertMatch(stderr, /^brachio: no WebGPU adapter: installing .*mesa-vulkan-drivers.*\n$/);
    assertMatch(log, /^apt-get update\napt-get install .*mesa-vulkan-drivers libvulkan1\n$/);
    assertEquals((await run(["train"])).stderr, "");
  });
});

systemTest("brachio says the one command that brings a driver where it may not", async () => {
  const commands = {
    "apt-get": "sudo apt-get install -y --no-install-recommends mesa-vulkan-drivers libvulkan1",
    dnf: "sudo dnf install -y mesa-vulkan-drivers vulkan-loader",
    pacman: "sudo pacman -S --needed vulkan-swrast vulkan-icd-loader",
    apk: "sudo apk add mesa-vulkan-swrast vulkan-loader",
    zypper: "sudo zypper install libvulkan_lvp libvulkan1",
  };
  for (const [manager, command] of Object.entries(commands)) {
    await withMachine({ deno: deno("2.10.1"), [manager]: APT_GET }, async ({ run }) => {
      const { status, stderr, log } = await run(["train"]);
      assertEquals([status, log], [2, ""]);
      assertEquals(stderr, `brachio: no WebGPU adapter; type: ${command}\n`);
    });
  }
});
