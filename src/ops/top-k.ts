/** The most similar candidates of many images, from tiles of a matrix too large to keep (shaders/top_k.wgsl). */
import { apply, type Op, type Tensor } from "../graph/tensor.js";
import { expectShape } from "./check.js";
import { flat } from "./lanes.js";

/** Running lists of N images; before the first tile all values are below, and all least ones above any similarity. */
export interface TopKLists {
  /** [K, N] f32: similarities of the best candidates, falling along K. */
  readonly values: Tensor;
  /** [K, N] u32: numbers of these candidates, on a tie the smaller one first. */
  readonly indices: Tensor;
  /** [N] f32: the least similarity to any candidate. */
  readonly least: Tensor;
}

interface TopKAttrs {
  readonly along: "columns" | "rows";
  readonly fold: number;
}

const topKOp: Op<TopKAttrs> = {
  name: "topK",
  outputs([tile, place, values, indices, least], { fold }) {
    if (tile.shape.length !== 2) throw new Error(`expected a tile of rank 2, got [${tile.shape}]`);
    if (place.dtype !== "u32" || place.shape.length !== 2 || place.shape[1] !== 4 || place.shape[0] <= fold)
      throw new Error(`expected places [more than ${fold}, 4] of u32, got ${place.dtype} [${place.shape}]`);
    if (indices.dtype !== "u32") throw new Error(`indices must be u32, got ${indices.dtype}`);
    expectShape(indices, values.shape, "indices, one for each value,");
    expectShape(least, [values.shape[1]], "the least values, one for each image,");
    return [{ shape: values.shape }, { shape: indices.shape, dtype: "u32" }, { shape: least.shape }];
  },
  updates: () =>
    new Map([
      [0, 2],
      [1, 3],
      [2, 4],
    ]),
  lower({ inputs: [tile, place], outputs: [values, indices, least], attrs: { along, fold } }, to) {
    const [rows, columns] = tile.shape;
    const [keep, images] = values.shape;
    const [imageStride, candidateStride] = along === "columns" ? [1, columns] : [columns, 1];
    to.dispatch({
      kernel: { shader: "top_k" },
      bindings: { tile, place, values, indices, least },
      params: { fold, keep, images, imageStride, candidateStride },
      workgroups: flat(along === "columns" ? columns : rows),
      bytes: tile.bytes,
    });
  },
};

/**
 * Folds a tile into the lists of the images along its columns, or along its rows. The lists are updated in place.
 * @param tile [rows, columns] similarities; what lies outside `place` is ignored
 * @param place [folds, 4] u32; row `fold`: first image, images, first candidate, candidates
 * @returns the updates to hand to `Program.compile`, or to a further fold
 */
export function topK(
  tile: Tensor,
  place: Tensor,
  { values, indices, least }: TopKLists,
  along: "columns" | "rows",
  fold = 0,
): TopKLists {
  const updated = apply(topKOp, [tile, place, values, indices, least], { along, fold });
  return { values: updated[0], indices: updated[1], least: updated[2] };
}
