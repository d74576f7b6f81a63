/** The folder of an ablation: what all its runs have in common, kept beside them, so that no run of other settings joins them. */
import { createHash } from "node:crypto";
import { createReadStream, existsSync, mkdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pipeline } from "node:stream/promises";
import { UserError } from "../errors.js";
import { inWords, writeAside } from "../formats/write-aside.js";
import { digestDifferences, parseTrainConfig, settingsInCommon } from "../training/config.js";
import { VARIANT_KEYS } from "../training/variants.js";
import type { AblationOptions } from "./ablate-run.js";
import { checkOutFolder } from "./outputs.js";

const SETTINGS_FILE = "settings.json";

type Settings = Record<string, unknown>;
type Claim = Pick<AblationOptions, "dataset" | "configs" | "folder" | "init">;

/** Remembers what all runs have in common; @throws UserError where the folder's runs had other settings, start or data */
export async function claimFolder({ dataset, configs, folder, init }: Claim): Promise<void> {
  const [config] = configs.values();
  const names = (["train", "query", "gallery"] as const).map((subset) => dataset[subset].map(({ name }) => name));
  const current: Settings = {
    ...settingsInCommon(config, VARIANT_KEYS),
    init: init === undefined ? null : resolve(init),
    initSha256: init === undefined ? null : await sha256Of(init),
    trainingPictures: names[0].length,
    queryPictures: names[1].length,
    galleryPictures: names[2].length,
    namesOfPictures: createHash("sha256").update(JSON.stringify(names)).digest("hex").slice(0, 12),
  };
  const path = join(folder, SETTINGS_FILE);
  if (existsSync(path)) {
    const found = readSettings(path);
    const differences = differencesOf(current, completed(found, current));
    if (differences.length > 0) {
      throw new UserError(
        `${folder} holds an ablation with other settings: ${differences.join("; ")}. Go on with its settings, or choose another ` +
          "folder with --out.",
      );
    }
    if (Object.keys(current).every((key) => key in found)) return;
  } else await checkOutFolder(folder, "ablate", () => false);
  mkdirSync(folder, { recursive: true });
  await writeAside(path, `${JSON.stringify(current)}\n`);
}

/** @throws UserError where the file was not written by an ablation, or is damaged */
function readSettings(path: string): Settings {
  let found: unknown;
  try {
    found = JSON.parse(readFileSync(path, "utf8"));
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
  }
  // Every version has written it.
  if (typeof (found as Settings | null | undefined)?.namesOfPictures === "string") return found as Settings;
  throw new UserError(
    `${path} is damaged or not of mpn ablate, which keeps there what its runs have in common. Choose another folder with --out, ` +
      "or put that file back from a copy: without it, nobody knows what the runs in the folder are of.",
  );
}

/** An earlier version's settings with those that came since, at their defaults: what its runs were trained with. */
function completed(found: Settings, current: Settings): Settings {
  return {
    ...settingsInCommon(parseTrainConfig({}), VARIANT_KEYS),
    // It knew the checkpoint by its path alone.
    initSha256: found.init === current.init ? current.initSha256 : null,
    ...found,
  };
}

/** A line for each; the checkpoint to start from is the same wherever it lies, and another one when its content is. */
function differencesOf(ours: Settings, theirs: Settings): string[] {
  const { init, initSha256, ...rest } = ours;
  const { init: theirInit, initSha256: theirSha256, ...theirRest } = theirs;
  const differences = digestDifferences(JSON.stringify(rest), JSON.stringify(theirRest), "the ablation there");
  if (initSha256 === theirSha256 && (init === null) === (theirInit === null)) return differences;
  const start =
    init === theirInit
      ? `${init} is not the checkpoint any more that the runs there started from: its content has changed`
      : `init is ${JSON.stringify(init)}, the ablation there has ${JSON.stringify(theirInit)}`;
  return [start, ...differences];
}

async function sha256Of(path: string): Promise<string> {
  const hash = createHash("sha256");
  try {
    await pipeline(createReadStream(path), hash);
  } catch (cause) {
    throw new UserError(`Cannot read ${path}: ${inWords(cause)}`, { cause });
  }
  return hash.digest("hex");
}
