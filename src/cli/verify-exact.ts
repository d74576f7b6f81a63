/** Fixtures that need no adapter: the coarse prior (exact) and the re-ID metrics. */
import { LABEL_SETS, type LabelSet } from "../data/label-sets.js";
import { coarsePrior } from "../data/prior.js";
import { UserError } from "../errors.js";
import type { SafetensorsFile } from "../formats/safetensors.js";
import { evaluateRanking } from "../retrieval/metrics.js";

function values(file: SafetensorsFile, path: string, name: string): { shape: number[]; data: ArrayLike<number> } {
  const tensor = file.tensors.get(name);
  if (!tensor) throw new UserError(`${path}: the tensor ${name} is missing; the fixture cannot be checked.`);
  return tensor as { shape: number[]; data: ArrayLike<number> };
}

/** @returns the share of wrong values of mask, roi and reliable */
export function verifyPrior(file: SafetensorsFile, path: string): Record<string, number> {
  const { rows, cols, labels } = file.metadata;
  if (!(labels in LABEL_SETS))
    throw new UserError(`${path}: unknown label set ${labels}; known are ${Object.keys(LABEL_SETS).join(", ")}.`);
  const parsing = values(file, path, "input.parsing");
  const segmentation = values(file, path, "input.segmentation");
  const [n, height, width] = parsing.shape;
  const wrong = { mask: 0, roi: 0, reliable: 0 };
  const cut = (t: { data: ArrayLike<number> }, i: number) => ({
    width,
    height,
    data: Uint8Array.from({ length: height * width }, (_, p) => t.data[i * height * width + p]),
  });
  const grid = { rows: Number(rows), cols: Number(cols) };
  const cells = grid.rows * grid.cols;
  const expected = {
    mask: values(file, path, "expect.mask"),
    roi: values(file, path, "expect.roi"),
    reliable: values(file, path, "expect.reliable"),
  };
  for (let i = 0; i < n; i++) {
    const prior = coarsePrior(cut(parsing, i), cut(segmentation, i), { ...grid, labels: labels as LabelSet });
    for (let p = 0; p < cells; p++) wrong.mask += Number(prior.mask[p] !== expected.mask.data[i * cells + p]);
    wrong.roi += Number(prior.top !== expected.roi.data[2 * i]) + Number(prior.bottom !== expected.roi.data[2 * i + 1]);
    wrong.reliable += Number(Number(prior.reliable) !== expected.reliable.data[i]);
  }
  return { mask: wrong.mask / (n * cells), roi: wrong.roi / (2 * n), reliable: wrong.reliable / n };
}

/** @returns the largest difference of CMC (ranks 1 to 20) and of both mAPs, and by how much the counts are off */
export async function verifyMetrics(file: SafetensorsFile, path: string): Promise<Record<string, number>> {
  const of = (name: string) => values(file, path, name);
  const query = of("input.query");
  const result = await evaluateRanking({
    query: Float32Array.from(query.data),
    gallery: Float32Array.from(of("input.gallery").data),
    dim: query.shape[1],
    queryIds: Int32Array.from(of("input.queryIds").data),
    queryCams: Int32Array.from(of("input.queryCams").data),
    galleryIds: Int32Array.from(of("input.galleryIds").data),
    galleryCams: Int32Array.from(of("input.galleryCams").data),
  });
  const cmc = of("expect.cmc").data;
  return {
    cmc: Math.max(...Array.from({ length: cmc.length }, (_, k) => Math.abs(cmc[k] - result.cmc[k]))),
    mAP: Math.abs(of("expect.mAP").data[0] - result.mAP),
    mAPTrapezoid: Math.abs(of("expect.mAP.trapezoid").data[0] - result.mAPTrapezoid),
    counts:
      Math.abs(of("expect.valid").data[0] - result.queries) + Math.abs(of("expect.skipped").data[0] - result.skipped),
  };
}
