/**
 * Another library's matrix product behind one interface, so that a bench can time it in the same
 * run on the same adapter.
 *
 * @module
 */

/**
 * One product, out (M, N) = a · b with contraction K. The layout says how the inputs lie in memory.
 *
 * | layout | a      | b      | in a layer                  |
 * | ------ | ------ | ------ | --------------------------- |
 * | `nn`   | (M, K) | (K, N) | forward, weight (in, out)   |
 * | `nt`   | (M, K) | (N, K) | forward, weight (out, in)   |
 * | `tn`   | (K, M) | (K, N) | dweight = inpᵀ · dout       |
 */
export interface MatmulCase {
  readonly layout: "nn" | "nt" | "tn";
  readonly M: number;
  readonly N: number;
  readonly K: number;
}

/** A library that can be timed. */
export interface Peer {
  readonly name: string;
  readonly version: string;
  /** `GPUAdapterInfo.description` of the adapter it runs on, or what it runs on instead. */
  readonly adapter: string;

  /**
   * Uploads the inputs, compiles, and keeps the fastest way to ask. One at a time on a peer.
   *
   * @throws {RangeError} When an input does not have the length its layout says.
   * @throws {Error} When the library cannot run this product here: nothing is left behind.
   */
  matmul(product: MatmulCase, a: Float32Array, b: Float32Array): Promise<PreparedMatmul>;

  /** Ends its workers or device. A peer is opened once a process: the libraries are singletons. */
  destroy(): Promise<void>;
}

/** A product whose inputs are on the device. */
export interface PreparedMatmul {
  /** The way the library was asked, in its own words. */
  readonly way: string;
  /** Enqueues the product `times` times, and waits until the device has finished the last. */
  run(times: number): Promise<void>;
  /** The output of the last run, (M, N). */
  result(): Promise<Float32Array>;
  dispose(): void;
}

/** Shapes of the inputs as they lie in memory. */
export function inputShapes(
  { layout, M, N, K }: MatmulCase,
): { a: [number, number]; b: [number, number] } {
  return { a: layout === "tn" ? [K, M] : [M, K], b: layout === "nt" ? [N, K] : [K, N] };
}

/** @throws {RangeError} When an input does not have the length its layout says. */
export function checkInputs(product: MatmulCase, a: Float32Array, b: Float32Array): void {
  const shapes = inputShapes(product);
  for (const [name, values, [rows, columns]] of [["a", a, shapes.a], ["b", b, shapes.b]] as const) {
    if (values.length !== rows * columns) {
      throw new RangeError(
        `Cannot run matmul ${product.layout}: "${name}" must hold ${rows}×${columns} values: ` +
          `got ${values.length}`,
      );
    }
  }
}
