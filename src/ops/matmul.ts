/** Matrix products of modest size (shaders/matmul.wgsl); convolutions have a kernel of their own. */
import { grid } from "../graph/lowering.js";
import { apply, type Op, type Tensor } from "../graph/tensor.js";
import { reshape } from "./layout.js";
import { partialSums, sumPartials } from "./partials.js";

export interface MatmulOptions {
  /** a is [..., K, M]. */
  readonly transposeA?: boolean;
  /** b is [..., N, K]. */
  readonly transposeB?: boolean;
}

export type MatmulAttrs = Required<MatmulOptions>;

const ROWS_PER_INVOCATION = 8;
const LANES = 64;
/** Workgroups that keep a GPU busy, and the least terms of a part of a split sum, in blocks of the kernel's 12. */
const WANTED_WORKGROUPS = 512;
const FEWEST_BLOCKS = 4;
const BLOCK = 12;

function dimensions(a: Tensor, b: Tensor, { transposeA, transposeB }: MatmulAttrs) {
  const [aRows, aColumns] = a.shape.slice(-2);
  const [bRows, bColumns] = b.shape.slice(-2);
  const [rows, depth] = transposeA ? [aColumns, aRows] : [aRows, aColumns];
  const [bDepth, columns] = transposeB ? [bColumns, bRows] : [bRows, bColumns];
  return { rows, depth, bDepth, columns, lead: a.shape.slice(0, -2) };
}

const matmulOp: Op<MatmulAttrs> = {
  name: "matmul",
  outputs([a, b], attrs) {
    if (a.shape.length < 2 || b.shape.length < 2) throw new Error("matrices need rank 2 or more");
    const { rows, depth, bDepth, columns, lead } = dimensions(a, b, attrs);
    if (depth !== bDepth) {
      const axis = (transposed: boolean, plain: number) => (transposed ? -3 - plain : plain);
      const [i, j] = [axis(attrs.transposeA, -1), axis(attrs.transposeB, -2)];
      throw new Error(`a's axis ${i} (${depth}) is multiplied by b's axis ${j} (${bDepth}); they must be equal`);
    }
    if (lead.join() !== b.shape.slice(0, -2).join()) {
      throw new Error(`leading axes must be equal, got [${lead}] and [${b.shape.slice(0, -2)}]`);
    }
    return [{ shape: [...lead, rows, columns] }];
  },
  gradient({ inputs: [a, b], attrs: { transposeA, transposeB } }, [dc]) {
    if (!dc) return [null, null];
    const da = transposeA
      ? matmul(b, dc, { transposeA: transposeB, transposeB: true })
      : matmul(dc, b, { transposeB: !transposeB });
    const db = transposeB
      ? matmul(dc, a, { transposeA: true, transposeB: transposeA })
      : matmul(a, dc, { transposeA: !transposeA });
    return [da, db];
  },
  lower({ inputs: [a, b], outputs: [c], attrs }, to) {
    const { rows, depth, columns, lead } = dimensions(a, b, attrs);
    const batch = lead.reduce((p, q) => p * q, 1);
    // Few columns leave lanes idle, so that more of them per lane would only make more of that.
    const perLane = columns > 2 * LANES ? 4 : 1;
    const rowTiles = Math.ceil(rows / ROWS_PER_INVOCATION);
    const columnTiles = Math.ceil(columns / (LANES * perLane));
    const whole = batch * rowTiles * columnTiles;
    // A software adapter has few threads, and a product is long work for each; on a GPU few tiles would leave most of it idle.
    const blocks = Math.ceil(depth / BLOCK);
    const wanted = to.profile.software ? 1 : Math.ceil(WANTED_WORKGROUPS / whole);
    const perSplit = BLOCK * Math.max(FEWEST_BLOCKS, Math.ceil(blocks / wanted));
    const splits = Math.ceil(depth / perSplit);
    const { partial, padded } = partialSums(to, c, splits);
    const tiles = splits * whole;
    const [aRow, aDepth] = attrs.transposeA ? [1, rows] : [depth, 1];
    const [bDepth, bColumn] = attrs.transposeB ? [1, depth] : [columns, 1];
    to.dispatch({
      kernel: { shader: "matmul", defines: { COLUMNS: perLane } },
      bindings: { a, b, c: partial },
      params: {
        rows,
        columns,
        depth,
        perSplit,
        batches: batch,
        rowTiles,
        columnTiles,
        tiles,
        aBatch: rows * depth,
        aRow,
        aDepth,
        bBatch: depth * columns,
        bDepth,
        bColumn,
        cSplit: padded,
      },
      workgroups: grid(tiles),
      flops: 2 * batch * rows * columns * depth,
      bytes: a.bytes + b.bytes + partial.bytes,
    });
    sumPartials(to, partial, c);
  },
};

/**
 * Matrix product, batched over equal leading axes; a b of rank 2 multiplies all matrices of a (which must not be transposed).
 * @param a [..., M, K], or [..., K, M] with `transposeA`
 * @param b [..., K, N], or [..., N, K] with `transposeB`
 * @returns [..., M, N]. Throws ShapeError where K or the leading axes differ
 */
export function matmul(a: Tensor, b: Tensor, { transposeA = false, transposeB = false }: MatmulOptions = {}): Tensor {
  if (a.shape.length > 2 && b.shape.length === 2 && !transposeA) {
    const flat = reshape(a, [a.size / a.shape[a.shape.length - 1], a.shape[a.shape.length - 1]]);
    const product = matmul(flat, b, { transposeB });
    return reshape(product, [...a.shape.slice(0, -1), product.shape[1]]);
  }
  return apply(matmulOp, [a, b], { transposeA, transposeB })[0];
}
