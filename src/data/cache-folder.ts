/** Where files go that are made of a dataset whose own folder cannot be written. */
import { createHash } from "node:crypto";
import { homedir } from "node:os";
import { join } from "node:path";

/** The user's cache folder of this package. */
export const userCacheFolder = () => join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "mpn-webgpu");

/** Tells the files of a dataset from those of others there. */
export const cacheKey = (root: string) => createHash("sha256").update(root).digest("hex").slice(0, 12);
