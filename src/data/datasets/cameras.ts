/**
 * Images whose camera is not known. Market-1501's rule takes the images of the query's person by the query's own camera
 * out of the ranking; without cameras that cannot be done, but a query must at least not find itself. So each such image
 * gets a camera of its own, a number below zero, that only the same picture shares: the same file, a link to it, or a
 * copy with the same bytes under the same person. The rule then removes just those.
 */
import { createHash } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { UserError } from "../../errors.js";
import type { Dataset, Sample } from "./types.js";

/** Camera of an image that is not ranked. */
export const UNKNOWN_CAMERA = -1;
const AT_A_TIME = 64;

/** Gives the images of query and gallery that have no camera one of their own. */
export async function separateUnknownCameras({ query, gallery }: Pick<Dataset, "query" | "gallery">): Promise<void> {
  const unknown = [...new Set([...query, ...gallery])].filter(({ camid }) => camid < 0);
  const bySize = await grouped(unknown, sizeOf);
  let camera = UNKNOWN_CAMERA;
  for (const candidates of bySize) {
    const pictures = candidates.length === 1 ? [candidates] : await grouped(candidates, digestOf);
    for (const same of pictures) {
      camera--;
      for (const sample of same) sample.camid = camera;
    }
  }
}

/** A file that cannot be read is like no other one; whoever decodes it tells of it. */
const unreadable = ({ path }: Sample) => `unreadable ${path}`;

const sizeOf = (sample: Sample) =>
  stat(sample.path).then(
    ({ size }) => `${sample.pid} ${size}`,
    () => unreadable(sample),
  );

const digestOf = (sample: Sample) =>
  readFile(sample.path).then(
    (bytes) => createHash("sha256").update(bytes).digest("base64"),
    () => unreadable(sample),
  );

/** Groups of equal keys, in the order in which they first occur. */
async function grouped(samples: readonly Sample[], keyOf: (sample: Sample) => Promise<string>): Promise<Sample[][]> {
  const groups = new Map<string, Sample[]>();
  for (let at = 0; at < samples.length; at += AT_A_TIME) {
    const some = samples.slice(at, at + AT_A_TIME);
    const keys = await Promise.all(some.map(keyOf));
    some.forEach((sample, i) => {
      const group = groups.get(keys[i]);
      if (group) group.push(sample);
      else groups.set(keys[i], [sample]);
    });
  }
  return [...groups.values()];
}

/** @throws UserError where a camera that multi-queries are made by is not known */
export function requireQueryCameras(name: string, query: readonly Sample[]): void {
  const unknown = query.filter(({ camid }) => camid < 0).length;
  if (unknown === 0) return;
  throw new UserError(
    `${name}: a multi-query is made of the images by the query's own camera, and the cameras of ${unknown} of ${query.length} ` +
      "queries are not known. Evaluate with single queries, or give cameras.",
  );
}

/** What the evaluation of a dataset cannot leave out for want of cameras; null where it knows them all. */
export function unexcluded({ query }: Pick<Dataset, "query">): string | null {
  const unknown = query.filter(({ camid }) => camid < 0).length;
  if (unknown === 0) return null;
  return (
    `The camera of ${unknown} of ${query.length} queries is not known, so right answers by the query's own camera cannot be ` +
    "left out, and rates are higher than they would be by Market-1501's rule. A query's own picture in the gallery (the " +
    "same file or the same bytes) is left out."
  );
}
