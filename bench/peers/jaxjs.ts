/**
 * jax-js as a peer, on WebGPU and on its WebAssembly back end (SIMD, a worker a core).
 *
 * The product is `lax.dot` under `jit`, which reads transposed inputs in place: `np.matmul` of a
 * `transpose()` makes the same kernels. Some shapes miss its fast paths (an odd N on WebAssembly is
 * 20 times slower), and then swapped inputs or a transposed copy are the faster way to ask.
 *
 * @module
 */
import { blockUntilReady, getWebGPUDevice, init, jit, lax, numpy as np } from "@jax-js/jax";
import { throwGpuErrors } from "./error_scope.ts";
import { fastest } from "./fastest.ts";
import {
  checkInputs,
  inputShapes,
  type MatmulCase,
  type Peer,
  type PreparedMatmul,
} from "./peer.ts";

/** The version in the import map; the package does not export its own. */
const VERSION = "0.1.25";

type Device = "webgpu" | "wasm";

/** A way to ask for the product. As everywhere in jax-js, it consumes its inputs. */
interface Way {
  readonly name: string;
  product(a: np.Array, b: np.Array): np.Array;
}

/** A copy in memory: on its own a transpose is only a view. */
const transposed = jit((x: np.Array) => x.transpose());

/** Products of inputs that lie as the layout says. */
const dot = { nn: jitDot(1, 0), nt: jitDot(1, 1), tn: jitDot(0, 0) };

const WAYS: Readonly<Record<MatmulCase["layout"], readonly Way[]>> = {
  nn: [
    { name: "dot", product: dot.nn },
    { name: "dot with a copy of bᵀ", product: (a, b) => dot.nt(a, transposed(b)) },
    {
      name: "copy of dot(copy of bᵀ, a)ᵀ",
      product: (a, b) => transposed(dot.nt(transposed(b), a)),
    },
  ],
  nt: [
    { name: "dot", product: dot.nt },
    { name: "copy of dot(b, a)ᵀ", product: (a, b) => transposed(dot.nt(b, a)) },
    { name: "dot with a copy of bᵀ", product: (a, b) => dot.nn(a, transposed(b)) },
  ],
  tn: [
    { name: "dot", product: dot.tn },
    { name: "dot with a copy of aᵀ", product: (a, b) => dot.nn(transposed(a), b) },
  ],
};

function jitDot(lhs: number, rhs: number): Way["product"] {
  return jit((a: np.Array, b: np.Array) =>
    lax.dot(a, b, { lhsContractingDims: [lhs], rhsContractingDims: [rhs] })
  );
}

/** jax-js keeps one back end of a kind a process, which does not come back once it is ended. */
const opened = new Set<Device>();

/**
 * Opens jax-js on WebGPU.
 *
 * @throws {Error} When there is no adapter, or it was opened before in this process.
 */
export async function openJaxWebgpu(): Promise<Peer> {
  openOnce("webgpu");
  const devices = await init("webgpu");
  if (!devices.includes("webgpu")) {
    throw new Error("Cannot open jax-js (webgpu): a WebGPU adapter and device: found none");
  }
  const device = getWebGPUDevice();
  return {
    name: "jax-js (webgpu)",
    version: VERSION,
    adapter: device.adapterInfo.description,
    async matmul(product, a, b) {
      checkInputs(product, a, b);
      const act = `run matmul ${product.layout} with jax-js (webgpu)`;
      return await throwGpuErrors(device, act, () => prepare("webgpu", product, a, b));
    },
    destroy() {
      device.destroy();
      return Promise.resolve();
    },
  };
}

/**
 * Opens jax-js on WebAssembly.
 *
 * @throws {Error} When it was opened before in this process.
 */
export function openJaxWasm(): Promise<Peer> {
  openOnce("wasm");
  const workers = catchWorkers();
  return Promise.resolve({
    name: "jax-js (wasm)",
    version: VERSION,
    adapter: `WebAssembly SIMD, ${navigator.hardwareConcurrency} workers`,
    async matmul(product, a, b) {
      checkInputs(product, a, b);
      return await prepare("wasm", product, a, b);
    },
    destroy() {
      workers.terminate();
      return Promise.resolve();
    },
  });
}

function openOnce(device: Device): void {
  if (opened.has(device)) {
    throw new Error(`Cannot open jax-js (${device}): once a process: it was opened before`);
  }
  opened.add(device);
}

/**
 * Remembers the workers that start from now on.
 *
 * jax-js starts its pool at the first product and has no way to end it; the process would not exit.
 */
function catchWorkers(): { terminate(): void } {
  const Original = globalThis.Worker;
  const caught: Worker[] = [];
  globalThis.Worker = class extends Original {
    constructor(specifier: string | URL, options?: WorkerOptions) {
      super(specifier, options);
      if (`${specifier}`.startsWith("blob:")) caught.push(this);
    }
  };
  return {
    terminate() {
      globalThis.Worker = Original;
      for (const worker of caught) worker.terminate();
    },
  };
}

async function prepare(
  device: Device,
  product: MatmulCase,
  aValues: Float32Array,
  bValues: Float32Array,
): Promise<PreparedMatmul> {
  const shapes = inputShapes(product);
  const a = np.array(owned(aValues), { shape: shapes.a, device });
  const b = np.array(owned(bValues), { shape: shapes.b, device });
  let last: np.Array | undefined;

  function forget() {
    last?.dispose();
    last = undefined;
  }

  function dispose() {
    forget();
    a.dispose();
    b.dispose();
  }

  async function run(way: Way, times: number) {
    forget();
    for (let i = 1; i < times; i++) {
      const out = way.product(a.ref, b.ref);
      if (device === "webgpu") {
        // Arrays are lazy, and one that is dropped is never computed: this submits without waiting.
        out.gpuBufferSync();
      } else {
        // The pool runs one product at a time on all its workers; the wait is one message each.
        await out.blockUntilReady();
        out.dispose();
      }
    }
    last = way.product(a.ref, b.ref);
    await last.blockUntilReady();
  }

  try {
    await blockUntilReady([a, b]);
    const way = await fastest(WAYS[product.layout], run);
    await run(way, 1); // so that result() is the chosen way's
    return {
      way: way.name,
      run: (times) => run(way, times),
      async result() {
        if (!last) await run(way, 1);
        return await last!.ref.data() as Float32Array;
      },
      dispose,
    };
  } catch (cause) {
    dispose();
    throw cause;
  }
}

/** The values over an `ArrayBuffer`, which is what jax-js's types ask for. */
function owned(values: Float32Array): Float32Array<ArrayBuffer> {
  return values.buffer instanceof ArrayBuffer
    ? values as Float32Array<ArrayBuffer>
    : new Float32Array(values);
}
