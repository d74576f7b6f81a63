/** Whether an evaluation has anything to measure, which labels alone decide. */
import { UserError } from "../../errors.js";
import { type Dataset, isPerson } from "./types.js";

/**
 * Checks that some query has a right answer: its person by another camera. Else every rate is 0 whatever the network, which
 * reads like a bad network and is bad data.
 *
 * @param otherwise what else may be done
 * @throws UserError where none has
 */
export function requireAnswers(
  { name, query, gallery }: Pick<Dataset, "name" | "query" | "gallery">,
  otherwise = "",
): void {
  const cameras = new Map<number, Set<number>>();
  for (const { pid, camid } of gallery) cameras.set(pid, (cameras.get(pid) ?? new Set()).add(camid));
  const present = query.filter(({ pid }) => isPerson(pid) && cameras.has(pid));
  const answered = present.some(({ pid, camid }) => cameras.get(pid)!.size > 1 || !cameras.get(pid)!.has(camid));
  if (answered) return;
  throw new UserError(
    `${name}: no query has a right answer, so that every rate would be 0 whatever the network. Of ${query.length} queries ` +
      `${present.length} have their person in the gallery at all, ${present.length} of them only by the query's own camera or ` +
      "as its own picture, which do not count. " +
      (present.length === 0
        ? "People must have the same numbers or names in query and gallery. "
        : "Give the pictures the cameras that took them: as _c1, _c2 in their names, or in a CSV file's camid (empty where it " +
          "is not known: then only the query's own picture is left out). ") +
      `If the dataset was read as another one than it is, say with --layout what it is.${otherwise && ` ${otherwise}`}`,
  );
}
