/** The options that ask for more than single queries ranked by cosine similarity; `evaluate` and `train` have them. */
import { type Command, Option } from "commander";
import type { Pooling } from "../retrieval/multi-query.js";
import { numberFrom, wholeNumber } from "./shell.js";

export const POOLINGS_OF = { avg: ["average"], max: ["max"], both: ["average", "max"] } as const satisfies Record<
  string,
  readonly Pooling[]
>;

export interface EvaluationOptions {
  multiQuery?: keyof typeof POOLINGS_OF;
  rerank?: boolean;
  rerankK1?: number;
  rerankK2?: number;
  rerankLambda?: number;
}

export function addEvaluationOptions(command: Command): Command {
  return command
    .addOption(
      new Option(
        "--multi-query <pooling>",
        "also search with all images of the query's person by its camera (Market-1501's gt_bbox), pooled",
      ).choices(Object.keys(POOLINGS_OF)),
    )
    .option("--rerank", "also re-rank by k-reciprocal neighbours; both results are printed")
    .option("--rerank-k1 <n>", "length of the lists in which neighbours must be reciprocal (20)", wholeNumber(1))
    .option("--rerank-k2 <n>", "neighbours whose vectors are averaged (6)", wholeNumber(1))
    .option("--rerank-lambda <share>", "weight of the original distance, 0 to 1 (0.3)", numberFrom(0, 1));
}

/** Whether re-ranking is asked for; one of its parameters asks for it too. */
export const asksToRerank = ({ rerank, rerankK1, rerankK2, rerankLambda }: EvaluationOptions): boolean =>
  rerank === true || [rerankK1, rerankK2, rerankLambda].some((value) => value !== undefined);
