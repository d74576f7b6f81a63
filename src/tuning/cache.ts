/** The file that keeps what was tuned on an adapter: winners by problem, for one driver and one text of the shaders. */
import { createHash } from "node:crypto";
import { mkdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import * as v from "valibot";
import { userCacheFolder } from "../data/cache-folder.js";
import { inWords, writeAside } from "../formats/write-aside.js";
import { shaderTexts } from "../generated/shaders.js";
import type { DeviceProfile, TunedChoice } from "../gpu/device.js";
import { includesOf } from "../gpu/shader.js";

export type TunedChoices = Readonly<Record<string, TunedChoice>>;

/** Raised where choices come to mean, or to have passed, something else. 2: their keys name what is stored as float16. */
const FORMAT = 2;

const fileSchema = v.object({
  format: v.number(),
  /** Name, vendor, architecture and description: the last one names the driver's version. */
  adapter: v.array(v.string()),
  shaders: v.string(),
  choices: v.record(
    v.string(),
    v.object({ kernel: v.string(), tile: v.record(v.string(), v.pipe(v.number(), v.integer())) }),
  ),
});

const sha = (text: string) => createHash("sha256").update(text).digest("hex").slice(0, 16);

const adapterOf = ({ name, vendor, architecture, description }: DeviceProfile) => [
  name,
  vendor,
  architecture,
  description,
];

/** Tells the texts of the convolutions, and of all that they include, from any others. */
export function shaderHash(texts: Readonly<Record<string, string>> = shaderTexts): string {
  const used = new Set(Object.keys(texts).filter((name) => /^(conv|winograd)/.test(name)));
  for (const name of used) for (const other of includesOf(texts[name])) used.add(other);
  return sha(JSON.stringify([...used].sort().map((name) => [name, texts[name]])));
}

/**
 * Where the choices for an adapter are kept: `tuned-<adapter and driver>.json` in the user's cache folder, or in the folder that
 * MPN_TUNED names. Null where MPN_TUNED is `off`.
 */
export function tunedPath(profile: DeviceProfile, elsewhere = process.env.MPN_TUNED): string | null {
  if (elsewhere === "off") return null;
  return join(elsewhere || userCacheFolder(), `tuned-${sha(JSON.stringify(adapterOf(profile)))}.json`);
}

/**
 * What was tuned on this adapter with its driver and these shaders; nothing where there is no such file.
 * @param warn told why a file that is there is not used: it is damaged, of another version, of another adapter or of other shaders
 */
export async function readTuned(profile: DeviceProfile, warn: (line: string) => void): Promise<TunedChoices> {
  const path = tunedPath(profile);
  if (path === null) return {};
  const ignored = (why: string) => {
    warn(`${path} is ignored: ${why}. \`mpn tune\` writes it anew.`);
    return {};
  };
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ENOENT" ? {} : ignored(inWords(error).replace(/\.$/, ""));
  }
  const parsed = v.safeParse(fileSchema, parseJson(text));
  if (!parsed.success) return ignored("it is damaged, or no file of tuned choices");
  const { format, adapter, shaders, choices } = parsed.output;
  if (format !== FORMAT) return ignored("it was made by another version of mpn");
  if (JSON.stringify(adapter) !== JSON.stringify(adapterOf(profile)))
    return ignored(
      `it was made for ${adapter[0]} (${adapter.at(-1)}), this is ${profile.name} (${profile.description})`,
    );
  if (shaders !== shaderHash()) return ignored("it was made with other shaders, before an update");
  return choices;
}

/** Writes the choices, aside and renamed. Throws UserError where that cannot be done. */
export async function writeTuned(path: string, profile: DeviceProfile, choices: TunedChoices): Promise<void> {
  // A folder that cannot be made is told by the write that follows.
  await mkdir(dirname(path), { recursive: true }).catch(() => {});
  const file: v.InferOutput<typeof fileSchema> = {
    format: FORMAT,
    adapter: adapterOf(profile),
    shaders: shaderHash(),
    choices: choices as v.InferOutput<typeof fileSchema>["choices"],
  };
  await writeAside(path, `${JSON.stringify(file, null, 1)}\n`);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
