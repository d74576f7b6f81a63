import { stat } from "node:fs/promises";
import { join } from "node:path";
import { filesBelow, IMAGE_EXTENSIONS, isImage } from "../data/datasets/files.js";
import { UserError } from "../errors.js";

/**
 * The image files that a command's arguments name: files as they are, and what folders and their folders hold, sorted.
 *
 * @throws UserError naming the place that does not exist or holds no image
 */
export async function findImages(places: readonly string[]): Promise<string[]> {
  const found: string[] = [];
  for (const place of places) {
    if (!(await stat(place).catch(() => null))) throw new UserError(`There is no file or folder ${place}.`);
    const files = await filesBelow(place);
    if (files === null) {
      found.push(place);
      continue;
    }
    const images = files.filter(isImage);
    if (images.length === 0)
      throw new UserError(`${place} holds no image: looked for ${IMAGE_EXTENSIONS.join(", ")} in it and its folders.`);
    found.push(...images.map((file) => join(place, file)));
  }
  return found;
}
