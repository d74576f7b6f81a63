/** The head of a ranked list, for pages, pictures and search. */
import { bySimilarity, isJunk, isRight, type RankingInput, similarityOf } from "./metrics.js";

export interface Match {
  /** Index into the gallery. */
  index: number;
  similarity: number;
}

export interface LabelledMatch extends Match {
  /** Whether the gallery image shows the query's person. */
  right: boolean;
}

/**
 * The `topK` gallery images most similar to a query, best first, ties by index; fewer when there are fewer.
 *
 * @param row similarities to every gallery image
 * @param keep which gallery images take part, by index; all by default
 */
export function bestMatches(row: ArrayLike<number>, topK: number, keep = (_index: number) => true): Match[] {
  const kept = Array.from({ length: row.length }, (_, index) => index).filter(keep);
  return kept
    .sort(bySimilarity(row))
    .slice(0, topK)
    .map((index) => ({ index, similarity: row[index] }));
}

/** The same for a query whose identity is known: junk is removed, and each match is marked right or wrong. */
export async function rankedList(input: RankingInput, query: number, topK: number): Promise<LabelledMatch[]> {
  const row = await similarityOf(input)(query, query + 1);
  return bestMatches(row, topK, (index) => !isJunk(input, query, index)).map((match) => ({
    ...match,
    right: isRight(input, query, match.index),
  }));
}
