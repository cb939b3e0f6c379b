/**
 * TensorFlow.js's WebGPU back end as a peer.
 *
 * `tf.matMul` picks one of four kernels by rules made on real GPUs, which are not the best on every
 * adapter. So each product is asked in every way that ever won, and the fastest is kept.
 *
 * @module
 */
import type { WebGPUBackend } from "@tensorflow/tfjs-backend-webgpu";
import "@tensorflow/tfjs-backend-webgpu";
import * as tf from "@tensorflow/tfjs-core";
import { throwGpuErrors } from "./error_scope.ts";
import { fastest } from "./fastest.ts";
import {
  checkInputs,
  inputShapes,
  type MatmulCase,
  type Peer,
  type PreparedMatmul,
} from "./peer.ts";

/** Values of `WEBGPU_MATMUL_PROGRAM_TYPE`, tfjs's own flag. */
const PROGRAM = { own: -1, splitK: 1 } as const;

/** A way to ask for the product, in the user's words and as a function. */
interface Way {
  readonly name: string;
  readonly program: number;
  product(a: tf.Tensor2D, b: tf.Tensor2D): tf.Tensor2D;
}

let wasOpened = false;

/**
 * Opens TensorFlow.js on WebGPU.
 *
 * @throws {Error} When there is no adapter, or it was opened before in this process.
 */
export async function openTfjs(): Promise<Peer> {
  if (wasOpened) throw new Error("Cannot open tfjs: once a process: it was opened before");
  wasOpened = true;
  tf.enableProdMode();
  if (!await tf.setBackend("webgpu")) {
    throw new Error("Cannot open tfjs: a WebGPU adapter and device: its back end did not start");
  }
  const { device } = tf.backend() as WebGPUBackend;
  return {
    name: "tfjs (webgpu)",
    version: tf.version_core,
    adapter: device.adapterInfo.description,
    async matmul(product, a, b) {
      checkInputs(product, a, b);
      const act = `run matmul ${product.layout} with tfjs`;
      return await throwGpuErrors(device, act, () => prepare(product, a, b));
    },
    destroy() {
      tf.removeBackend("webgpu");
      device.destroy();
      return Promise.resolve();
    },
  };
}

async function prepare(
  product: MatmulCase,
  aValues: Float32Array,
  bValues: Float32Array,
): Promise<PreparedMatmul> {
  const shapes = inputShapes(product);
  const a = tf.tensor2d(aValues, shapes.a);
  const b = tf.tensor2d(bValues, shapes.b);
  let last: tf.Tensor2D | undefined;

  function dispose() {
    last?.dispose();
    last = undefined;
    a.dispose();
    b.dispose();
  }

  async function run(way: Way, times: number) {
    tf.env().set("WEBGPU_MATMUL_PROGRAM_TYPE", way.program);
    last?.dispose();
    last = undefined;
    for (let i = 1; i < times; i++) way.product(a, b).dispose();
    last = way.product(a, b);
    // Reading one element submits what is queued and waits for all of it.
    const element = tf.slice(last, [0, 0], [1, 1]);
    await element.data();
    element.dispose();
  }

  try {
    const way = await fastest(waysOf(product), run);
    await run(way, 1); // so that result() is the chosen way's
    return {
      way: way.name,
      run: (times) => run(way, times),
      async result() {
        if (!last) await run(way, 1);
        return await last!.data() as Float32Array;
      },
      dispose,
    };
  } catch (cause) {
    dispose();
    throw cause;
  }
}

/** All the ways worth a try for this layout; the library's own choice is the first. */
function waysOf({ layout }: MatmulCase): Way[] {
  const transposeA = layout === "tn";
  const transposeB = layout === "nt";
  const direct: Way["product"] = (a, b) => tf.matMul(a, b, transposeA, transposeB);
  const ways: Way[] = [
    { name: "matMul", program: PROGRAM.own, product: direct },
    { name: "matMul, split-K program", program: PROGRAM.splitK, product: direct },
  ];
  if (layout !== "nn") {
    ways.push({
      name: `matMul after transpose(${transposeA ? "a" : "b"})`,
      program: PROGRAM.own,
      product: (a, b) =>
        tf.tidy(() =>
          transposeA ? tf.matMul(tf.transpose(a), b) : tf.matMul(a, tf.transpose(b))
        ) as tf.Tensor2D,
    });
  }
  return ways;
}
