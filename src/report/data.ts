/** What a report shows. Everything is plain data, so that any command can make one. */

/** An image: an encoded file's bytes or its path, and what it is called. */
export interface Picture {
  image: Uint8Array | string;
  label: string;
}

/** One query with the head of its ranked list, best first, junk removed. */
export interface RankedListData {
  query: Picture;
  matches: (Picture & { similarity: number; right: boolean })[];
  /** Shown above the list, such as the model that ranked it. */
  caption?: string;
}

/** The outcome of one evaluation; a `RankingResult` with a name. Rates are fractions in 0..1. */
export interface Evaluation {
  label: string;
  /** `cmc[k - 1]`: share of queries with a right image among the first k. */
  cmc: ArrayLike<number>;
  rank1: number;
  rank5: number;
  rank10: number;
  rank20: number;
  mAP: number;
  mAPTrapezoid: number;
  queries: number;
  skipped: number;
  /** Another ranking of the same network, such as a re-ranked one: a column of the table, and no part of the change. */
  aside?: boolean;
}

export interface SubsetRow {
  subset: string;
  people: number;
  images: number;
  /** 0 where no camera is known. */
  cameras: number;
}

export interface Timing {
  name: string;
  milliseconds: number;
  note?: string;
}

/** A parsed line of metrics.jsonl: `step`, and scalars by name; nested objects count as names joined with dots. */
export type MetricsRow = Readonly<Record<string, unknown>>;

export interface ReportData {
  title: string;
  /** A sentence below the title, such as the command that was run. */
  subtitle?: string;
  adapter: { name: string; software: boolean };
  /** Settings by name; nested ones are shown as `outer.inner`. */
  configuration: Readonly<Record<string, unknown>>;
  dataset: { name: string; subsets: SubsetRow[] };
  /** In order, such as before and after training; the change shown is that from the first to the last. */
  evaluations: Evaluation[];
  /** What the reader of the results must know of the data, such as what could not be left out. */
  notes?: readonly string[];
  /** The same network on datasets that it was not trained on, each labelled by its name. */
  otherDatasets?: (Evaluation & { notes: readonly string[] })[];
  /**
   * Drawn are `loss`, names that begin with `loss.`, and the learning rate `lr`, each over `step`; of rows of an evaluation,
   * `evaluation.rank1` and `evaluation.mAP` over `epoch`.
   */
  metrics: readonly MetricsRow[];
  rankedLists: RankedListData[];
  timings: Timing[];
}
