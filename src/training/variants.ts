/**
 * The variants of MPN that the paper compares (Tables 1 to 7, Fig. 9), as settings of one model, and the figures that the
 * paper gives for them.
 */
import { UserError } from "../errors.js";
import type { TrainConfig } from "./config.js";

/** Everything that tells the variants apart; the rest of a configuration is theirs in common. */
const MPN0 = {
  model: "mpn",
  tasks: "main+aux",
  shareConv1: true,
  shareConv2: true,
  channelAttention: false,
  spatialAttention: false,
  prior: "mask",
  alignment: "class",
  softShare: "none",
  softShareWeight: 0,
} as const satisfies Partial<TrainConfig>;

export type VariantSettings = Pick<TrainConfig, keyof typeof MPN0>;

/** Settings that a variant decides; an ablation refuses to set them for all. */
export const VARIANT_KEYS = Object.keys(MPN0) as (keyof VariantSettings)[];

/** Rank-1 and mAP in percent, by the databases of the paper's columns; mAP is the trapezoid one (its footnotes' code). */
export interface PaperFigures {
  readonly market: readonly [rank1: number, mAP: number];
  readonly duke?: readonly [rank1: number, mAP: number];
  readonly cuhkDetected?: readonly [rank1: number, mAP: number];
  readonly cuhkLabeled?: readonly [rank1: number, mAP: number];
  readonly marketMulti?: readonly [rank1: number, mAP: number];
  readonly msmt17?: readonly [rank1: number, mAP: number];
}

export const DATABASES: Readonly<Record<keyof PaperFigures, string>> = {
  market: "Market-1501",
  duke: "DukeMTMC-reID",
  cuhkDetected: "CUHK03-detected",
  cuhkLabeled: "CUHK03-labeled",
  marketMulti: "Market-1501, multiple queries",
  msmt17: "MSMT17",
};

export interface Variant {
  readonly name: string;
  readonly title: string;
  readonly settings: VariantSettings;
  /** Where the paper gives figures; Fig. 9 is drawn without numbers. */
  readonly paper?: PaperFigures;
}

/** Own layers for MT and AT, nothing aligned: what Tables 1 and 3 add their components to. */
const NAIVE = { shareConv1: false, shareConv2: false, alignment: "none" } as const;

const figures = (
  market: [number, number],
  duke?: [number, number],
  cuhkDetected?: [number, number],
  cuhkLabeled?: [number, number],
): PaperFigures => ({
  market,
  ...(duke && { duke }),
  ...(cuhkDetected && { cuhkDetected }),
  ...(cuhkLabeled && { cuhkLabeled }),
});

const variant = (
  name: string,
  title: string,
  changes: Partial<VariantSettings>,
  paper?: PaperFigures,
): readonly [string, Variant] => [name, { name, title, settings: { ...MPN0, ...changes }, ...(paper && { paper }) }];

const SOFT_WEIGHTS = [0.01, 0.1, 1, 10];
const soft = (layer: "conv1" | "conv2") =>
  SOFT_WEIGHTS.map((weight) =>
    variant(`soft-${layer}-${weight}`, `${layer} soft, weight ${weight}`, {
      ...NAIVE,
      softShare: layer,
      softShareWeight: weight,
    }),
  );

export const VARIANTS: ReadonlyMap<string, Variant> = new Map([
  variant("baseline", "Baseline", { tasks: "aux" }, figures([94.2, 84.4], [88.2, 77.4], [70.9, 66.7], [75.6, 71.3])),
  variant("mt-only", "MT Only", { tasks: "main" }, figures([94.4, 85.6], [88.6, 78.0], [74.1, 69.3], [78.7, 73.9])),
  variant("naive-mtl", "Naive MTL", NAIVE, figures([94.6, 87.2], [88.7, 78.8], [75.5, 70.7], [78.9, 75.1])),
  variant(
    "c1-s",
    "C1-S",
    { ...NAIVE, shareConv1: true },
    figures([95.5, 88.5], [90.4, 80.7], [81.1, 76.9], [83.0, 79.1]),
  ),
  variant(
    "c2-s",
    "C2-S",
    { ...NAIVE, shareConv2: true },
    figures([95.1, 88.2], [90.1, 80.1], [80.6, 76.2], [82.5, 78.5]),
  ),
  variant(
    "c1-s-c2-s",
    "C1-S and C2-S",
    { alignment: "none" },
    figures([95.8, 88.7], [90.8, 80.9], [81.6, 77.1], [83.4, 79.5]),
  ),
  variant(
    "cf",
    "CF alone",
    { ...NAIVE, alignment: "class" },
    figures([95.5, 88.3], [90.5, 80.7], [81.0, 76.9], [82.6, 79.1]),
  ),
  variant("mpn0", "MPN without CA", {}, figures([96.1, 89.2], [91.2, 81.6], [82.6, 78.4], [84.1, 80.3])),
  variant(
    "mpn",
    "MPN",
    { channelAttention: true },
    {
      ...figures([96.3, 89.4], [91.5, 82.0], [83.4, 79.1], [85.0, 81.1]),
      marketMulti: [97.0, 92.7],
      msmt17: [83.5, 62.7],
    },
  ),
  variant(
    "mpn-star",
    "MPN*",
    { channelAttention: true, spatialAttention: true },
    { ...figures([96.4, 90.1]), marketMulti: [97.3, 93.1] },
  ),
  variant("uniform-division", "Uniform Division", { prior: "uniform" }, figures([95.6, 88.8], [90.8, 81.2])),
  variant("roi-resize", "ROI Resize", { prior: "roi" }, figures([95.8, 89.0], [91.0, 81.3])),
  variant("batch-wise", "Batch-wise", { ...NAIVE, alignment: "batch" }, figures([94.7, 87.8], [89.7, 80.2])),
  variant(
    "sample-wise-sum",
    "Sample-wise [10]",
    { ...NAIVE, alignment: "sample-sum" },
    figures([95.1, 87.8], [90.1, 80.6]),
  ),
  variant("sample-wise", "Sample-wise (eq. 9)", { ...NAIVE, alignment: "sample" }, figures([95.0, 87.9], [90.1, 80.5])),
  ...soft("conv1"),
  ...soft("conv2"),
]);

/** @throws UserError listing the variants when there is none of this name */
export function variantOf(name: string): Variant {
  const found = VARIANTS.get(name);
  if (found) return found;
  throw new UserError(`There is no variant "${name}"; use ${[...VARIANTS.keys()].join(", ")}.`, { exitCode: 2 });
}

export interface TableRow {
  readonly variant: string;
  /** What this table calls the variant. */
  readonly label: string;
  /** The variant that this table sets it against: the paper's own choice. */
  readonly against: string;
}

/** A drawing over the weights of soft sharing. */
export interface WeightCurve {
  readonly title: string;
  readonly weights: readonly number[];
  /** In the order of the weights. */
  readonly variants: readonly string[];
  /** Drawn as level lines: no sharing, hard sharing. */
  readonly references: readonly string[];
}

export interface PaperTable {
  /** As `--tables` calls it. */
  readonly id: string;
  readonly title: string;
  /** In the paper's order. */
  readonly rows: readonly TableRow[];
  /** Databases that the paper reports there. */
  readonly databases: readonly (keyof PaperFigures)[];
  /** What the paper's figures leave out. */
  readonly note?: string;
  readonly curves?: readonly WeightCurve[];
}

const rowsAgainst = (against: string, names: readonly string[], labels: Readonly<Record<string, string>> = {}) =>
  names.map((name): TableRow => ({ variant: name, label: labels[name] ?? variantOf(name).title, against }));
const softNames = (layer: string) => SOFT_WEIGHTS.map((weight) => `soft-${layer}-${weight}`);
const weightCurve = (layer: string, title: string, hard: string): WeightCurve => ({
  title,
  weights: SOFT_WEIGHTS,
  variants: softNames(layer),
  references: ["naive-mtl", hard],
});

/** Of a comparison with other works, MPN's row. */
const ownRow = (id: string, database: string, databases: PaperTable["databases"]): PaperTable => ({
  id,
  title: `Table ${id}: MPN on ${database}`,
  databases,
  rows: rowsAgainst("mpn", ["mpn"]),
  note: `Of Table ${id} the row that is MPN's own. Of the other works, PCB, MGN and Pyramid are trained by \`mpn train --model\`.`,
});

export const TABLES: readonly PaperTable[] = [
  {
    id: "1",
    title: "Table 1: components of MPN",
    databases: ["market", "duke", "cuhkDetected", "cuhkLabeled"],
    rows: rowsAgainst("mpn", ["baseline", "mt-only", "naive-mtl", "c1-s", "c2-s", "c1-s-c2-s", "cf", "mpn0", "mpn"]),
  },
  {
    id: "2",
    title: "Table 2: priors of body part locations",
    databases: ["market", "duke"],
    rows: rowsAgainst("mpn0", ["baseline", "mt-only", "uniform-division", "roi-resize", "mpn0"], {
      mpn0: "Ours (MPN without CA)",
    }),
  },
  {
    id: "3",
    title: "Table 3: feature space alignment",
    databases: ["market", "duke"],
    rows: rowsAgainst("cf", ["baseline", "naive-mtl", "batch-wise", "sample-wise-sum", "sample-wise", "cf"], {
      cf: "Class-wise (CF alone)",
    }),
  },
  {
    id: "4",
    title: "Table 4: spatial attention in the backbone (MPN*)",
    databases: ["market", "marketMulti"],
    rows: rowsAgainst("mpn", ["mpn", "mpn-star"]),
    note:
      "Of Table 4 the rows that are MPN's own; the paper gives MPN* on Market-1501 alone. Results here are of single " +
      "queries: `mpn evaluate <run> --data <dataset> --multi-query both` adds those of multiple ones.",
  },
  ownRow("5", "DukeMTMC-reID", ["duke"]),
  ownRow("6", "CUHK03", ["cuhkDetected", "cuhkLabeled"]),
  ownRow("7", "MSMT17", ["msmt17"]),
  {
    id: "9",
    title: "Fig. 9: hard and soft parameter sharing",
    databases: ["market", "duke"],
    rows: [
      ...rowsAgainst("c1-s", ["naive-mtl", ...softNames("conv1"), "c1-s"], {
        "naive-mtl": "No sharing (Naive MTL)",
        "c1-s": "conv1 hard (C1-S)",
      }),
      ...rowsAgainst("c2-s", [...softNames("conv2"), "c2-s"], { "c2-s": "conv2 hard (C2-S)" }),
    ],
    note:
      "The paper draws soft sharing without numbers. Its text (Sec. 5.3.2) puts hard sharing of conv1 above the best of " +
      "the four weights by 0.4 Rank-1 and 0.3 mAP on Market-1501, by 0.3 and 0.4 on DukeMTMC-reID.",
    curves: [
      weightCurve("conv1", "The first 1x1 convolution (Fig. 9a)", "c1-s"),
      weightCurve("conv2", "The second 1x1 convolution (Fig. 9b)", "c2-s"),
    ],
  },
];

/** What the paper concludes from these tables: the second of each pair is better than the first. */
export const PAPER_ORDER: readonly (readonly [worse: string, better: string])[] = [
  ["baseline", "mt-only"],
  ["mt-only", "mpn"],
  ["uniform-division", "mpn0"],
  ["mt-only", "naive-mtl"],
  ["naive-mtl", "c1-s"],
  ["naive-mtl", "c2-s"],
  ["naive-mtl", "cf"],
  ["c2-s", "c1-s"],
  ["c1-s", "c1-s-c2-s"],
  ["c1-s-c2-s", "mpn0"],
  ["cf", "mpn0"],
  ["mpn0", "mpn"],
  ["mpn", "mpn-star"],
  ["mt-only", "uniform-division"],
  ["uniform-division", "roi-resize"],
  ["roi-resize", "mpn0"],
  ["naive-mtl", "batch-wise"],
  ["naive-mtl", "sample-wise-sum"],
  ["naive-mtl", "sample-wise"],
  // Not with sample-wise [10], though the text says so: by Table 3 it has the same mAP on Market-1501.
  ["batch-wise", "sample-wise"],
  ["batch-wise", "cf"],
  ["sample-wise-sum", "cf"],
  ["sample-wise", "cf"],
  ...softNames("conv1").map((name) => [name, "c1-s"] as const),
  ...softNames("conv2").map((name) => [name, "c2-s"] as const),
];
