/** `mpn bench rerank`: metrics and k-reciprocal re-ranking of synthetic features at any size: time and memory. */
import type { Command } from "commander";
import type { Features } from "../../retrieval/similarity.js";
import { table } from "../../text.js";
import { run, type Shell, wholeNumber } from "../shell.js";
import { mebibytes } from "./timing.js";

interface Options {
  queries: number;
  gallery: number;
  dim: number;
  limit: number;
}

/** Images of a person in MSMT17's gallery. */
const GALLERY_PER_PERSON = 27;
const CAMERAS = 15;

export function registerRerank(bench: Command): void {
  bench
    .command("rerank")
    .description(
      "rank and re-rank synthetic features of MSMT17's size, and measure time and memory beside the features",
    )
    .option("--queries <n>", "query images", wholeNumber(1), 11659)
    .option("--gallery <n>", "gallery images", wholeNumber(1), 82161)
    .option("--dim <n>", "length of a feature", wholeNumber(1), 3072)
    .option("--limit <MiB>", "memory beside the features beyond which the exit code is 1", wholeNumber(1), 2048)
    .action(run(benchRerank));
}

async function benchRerank(shell: Shell, { queries, gallery, dim, limit }: Options) {
  const [{ Device }, { evaluateRankings }, { gpuSimilarity }, { rerankedSimilarity }, { remembered }, common] =
    await Promise.all([
      import("../../gpu/device.js"),
      import("../../retrieval/metrics.js"),
      import("../../retrieval/gpu-similarity.js"),
      import("../../retrieval/rerank.js"),
      import("../../retrieval/similarity.js"),
      import("../common.js"),
    ]);
  const people = Math.ceil(gallery / GALLERY_PER_PERSON);
  const camera = (i: number) => (i * 7 + Math.floor(i / people)) % CAMERAS;
  const labels = {
    queryIds: Int32Array.from({ length: queries }, (_, i) => i % people),
    galleryIds: Int32Array.from({ length: gallery }, (_, i) => i % people),
    queryCams: Int32Array.from({ length: queries }, (_, i) => camera(i)),
    galleryCams: Int32Array.from({ length: gallery }, (_, i) => camera(i)),
  };
  const features = await syntheticFeatures(labels, people, dim);
  const featureBytes = features.query.byteLength + features.gallery.byteLength;
  const device = await Device.open();
  const { name, software } = device.profile;
  const phases: { phase: string; seconds: number; peakBytes: number }[] = [];
  let started = performance.now();
  const finish = (phase: string) => {
    const now = performance.now();
    phases.push({ phase, seconds: (now - started) / 1000, peakBytes: peakBytes() - featureBytes });
    started = now;
  };
  try {
    const tiles = await gpuSimilarity(device, features);
    const cosine = remembered(tiles.similarity);
    const progress = {
      neighbours: shell.onProgress("nearest neighbours"),
      vectors: shell.onProgress("their vectors"),
      index: shell.onProgress("inverted index"),
    };
    const names = { neighbours: "neighbours", vectors: "vectors", index: "inverted index" };
    const reranked = await rerankedSimilarity(device, features, cosine, {
      onProgress: (phase, done, total) => {
        progress[phase](done, total);
        if (done === total) finish(names[phase]);
      },
    });
    const [plain, better] = await evaluateRankings(labels, [cosine, reranked], {
      onProgress: shell.onProgress("both rankings"),
    });
    finish("both rankings");
    tiles.destroy();
    common.printEvaluations(shell, [
      { label: "cosine", result: plain },
      { label: "re-ranked", result: better },
    ]);
    shell.print(`\n${name}: ${queries} x ${gallery}, ${dim} dimensions, features of ${mebibytes(featureBytes)}`);
    const rows = phases.map(({ phase, seconds, peakBytes }) => [phase, seconds.toFixed(1), mebibytes(peakBytes)]);
    for (const line of table([["", "seconds", "peak memory beside the features"], ...rows])) shell.print(line);
    const gpuPeakBytes = device.peakBufferBytes;
    const where = software ? "in that memory too, as the processor plays the GPU" : "on the GPU";
    shell.print(`GPU buffers at most ${mebibytes(gpuPeakBytes)}, ${where}`);
    // What a software adapter's buffers take is resident already.
    const memoryBytes = peakBytes() - featureBytes + (software ? 0 : gpuPeakBytes);
    const limitBytes = limit * 2 ** 20;
    const withinLimit = memoryBytes <= limitBytes;
    shell.print(
      `${mebibytes(memoryBytes)} beside the features${software ? "" : ", GPU buffers included"}: ${withinLimit ? "within" : "MORE THAN"} the limit of ${mebibytes(limitBytes)}`,
    );
    if (!withinLimit) process.exitCode = 1;
    const { mAP, rank1 } = plain;
    return {
      adapter: name,
      software,
      queries,
      gallery,
      dim,
      featureBytes,
      gpuPeakBytes,
      peakBytes: peakBytes() - featureBytes,
      memoryBytes,
      limitBytes,
      withinLimit,
      phases,
      rank1,
      mAP,
      rerank: { rank1: better.rank1, mAP: better.mAP },
    };
  } finally {
    device.close();
  }
}

/** The most memory that the process ever held. */
const peakBytes = () => 1024 * process.resourceUsage().maxRSS;

/** A point for each person and uniform noise around it, so large that the ranking has errors to mend. */
async function syntheticFeatures(
  { queryIds, galleryIds }: { queryIds: Int32Array; galleryIds: Int32Array },
  people: number,
  dim: number,
): Promise<Features> {
  const { seededRng, uniform } = await import("../../random.js");
  const rng = seededRng(1);
  const noise = 0.5 * dim ** 0.25;
  const centres = Float32Array.from({ length: people * dim }, () => uniform(rng, -1, 1));
  const draw = (ids: Int32Array) => {
    const result = new Float32Array(ids.length * dim);
    for (let i = 0; i < ids.length; i++) {
      for (let d = 0; d < dim; d++) result[i * dim + d] = centres[ids[i] * dim + d] + noise * uniform(rng, -1, 1);
    }
    return result;
  };
  return { query: draw(queryIds), gallery: draw(galleryIds), dim };
}
