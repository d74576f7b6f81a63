/** How many images and people the published datasets have, to say where a copy differs. */
import { type Dataset, isPerson, type Layout, type Sample, SUBSETS, type Subset } from "./types.js";

interface Count {
  /** Files, junk and distractors included. */
  images: number;
  /** Identities but for junk and pid 0. */
  people: number;
}

interface Published extends Partial<Record<Subset, Count>> {
  name: string;
  multiQuery?: Count;
}

const counts = (images: number, people: number): Count => ({ images, people });

/**
 * As the datasets are distributed. The paper's Sec. 5.1 gives DukeMTMC-reID 2,268 queries and 36,441 images; they are
 * 2,228 and 36,411. Its 32,621 training images of MSMT17 are those with `trainVal`.
 */
const PUBLISHED: Partial<Record<Layout, Published>> = {
  market1501: {
    name: "Market-1501",
    train: counts(12_936, 751),
    query: counts(3_368, 750),
    gallery: counts(19_732, 750),
    multiQuery: counts(25_259, 1_501),
  },
  dukemtmc: {
    name: "DukeMTMC-reID",
    train: counts(16_522, 702),
    query: counts(2_228, 702),
    gallery: counts(17_661, 1_110),
  },
  "cuhk03-detected": {
    name: "CUHK03 (new protocol, detected)",
    train: counts(7_365, 767),
    query: counts(1_400, 700),
    gallery: counts(5_332, 700),
  },
  "cuhk03-labeled": {
    name: "CUHK03 (new protocol, labeled)",
    train: counts(7_368, 767),
    query: counts(1_400, 700),
    gallery: counts(5_328, 700),
  },
  msmt17: {
    name: "MSMT17",
    train: counts(30_248, 1_041),
    query: counts(11_659, 3_060),
    gallery: counts(82_161, 3_060),
  },
};
const MSMT17_TRAIN_VAL = counts(32_621, 1_041);
const MARKET_DISTRACTORS = 500_000;

const NAMES: Readonly<Record<Subset | "multiQuery", string>> = {
  train: "training images",
  query: "query images",
  gallery: "gallery images",
  multiQuery: "multi-query images",
};

/**
 * A sentence for each list of the dataset that is there and is not of the published size, the distractors added included.
 *
 * @param distractors how many images were added to the gallery
 */
export function differences(dataset: Dataset, { trainVal = false, distractors = 0 } = {}): string[] {
  const sentences = listDifferences(dataset, trainVal, distractors);
  if (dataset.layout === "market1501" && distractors > 0 && distractors !== MARKET_DISTRACTORS) {
    const [expected, found] = [MARKET_DISTRACTORS, distractors].map((images) => images.toLocaleString("en"));
    sentences.push(`Market-1501 has ${expected} further distractors; found ${found}.`);
  }
  return sentences;
}

function listDifferences(dataset: Dataset, trainVal: boolean, distractors: number): string[] {
  const published = PUBLISHED[dataset.layout];
  if (!published) return [];
  return ([...SUBSETS, "multiQuery"] as const).flatMap((subset) => {
    const samples = dataset[subset];
    const expected =
      subset === "train" && trainVal && dataset.layout === "msmt17" ? MSMT17_TRAIN_VAL : published[subset];
    if (samples.length === 0 || !expected) return [];
    const found = counts(samples.length - (subset === "gallery" ? distractors : 0), peopleOf(samples));
    if (found.images === expected.images && found.people === expected.people) return [];
    return `${published.name} has ${describe(expected, NAMES[subset])}; found ${describe(found)}.`;
  });
}

/** The published dataset whose tree is Market-1501's and that has exactly these lists; null where none has. */
export function publishedAs(dataset: Dataset, distractors: number): Layout | null {
  const trees = ["market1501", "dukemtmc", "cuhk03-detected", "cuhk03-labeled"] as const;
  if (SUBSETS.every((subset) => dataset[subset].length === 0)) return null;
  return trees.find((layout) => listDifferences({ ...dataset, layout }, false, distractors).length === 0) ?? null;
}

const peopleOf = (samples: readonly Sample[]) => new Set(samples.map(({ pid }) => pid).filter(isPerson)).size;

const describe = ({ images, people }: Count, what = "") =>
  `${images.toLocaleString("en")} ${what && `${what} `}of ${people.toLocaleString("en")} people`;
