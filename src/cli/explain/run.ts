/** What `mpn explain` does: the networks one after the other over all pictures, then a PNG for each picture and the page. */
import { existsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { basename, dirname, extname, join, resolve } from "node:path";
import type { Layout, Sample } from "../../data/dataset.js";
import { cuhk03Name, marketName } from "../../data/datasets/names.js";
import { JUNK_PID, SUBSETS } from "../../data/datasets/types.js";
import { decodeImage } from "../../data/image.js";
import type { LabelSet } from "../../data/label-sets.js";
import { type DetectorErrors, placeOf } from "../../data/perturb.js";
import { findMaps, type MapPaths, priorFromMaps } from "../../data/prior-maps.js";
import { UserError } from "../../errors.js";
import { modelOf } from "../../models/index.js";
import { type AttentionFigure, attentionPicture } from "../../report/attention.js";
import { renderAttentionPage } from "../../report/attention-page.js";
import { writePage } from "../../report/page.js";
import { type PartFocus, partFocus } from "../../retrieval/part-focus.js";
import { percent, table } from "../../text.js";
import { detectorErrorsOf } from "../../training/config.js";
import { countUnreadable, openDevice } from "../common.js";
import { openDataset } from "../dataset-options.js";
import type { ClassChoice } from "../explain.js";
import { findImages } from "../find-images.js";
import type { MapOptions } from "../map-options.js";
import { checkOutFolder } from "../outputs.js";
import type { Shell } from "../shell.js";
import { type ExplainedNetwork, explainedBy, openNetwork } from "./network.js";

const EXPLAIN_PAGE = "explain.html";

/** Pictures that the page shows, so that a browser can still open it; all have a PNG. */
const PAGE_PICTURES = 100;

/** Pixels of a picture that are kept for the figures. */
const FIGURE_PIXELS = 1024 * 512;

export interface ExplainRun extends Omit<MapOptions, "labels"> {
  readonly weights: readonly string[];
  readonly label: readonly string[];
  readonly class: ClassChoice;
  /** The dataset that says who the pictures show. */
  readonly data?: string;
  readonly layout?: Layout;
  /** Amount of the detector errors to add, drawn as the first network's training drew them. */
  readonly perturb: number;
  readonly out: string;
}

export async function explain(shell: Shell, places: readonly string[], options: ExplainRun) {
  const paths = await findImages(places);
  await checkFolder(options, paths);
  const unreadable = countUnreadable(shell);
  let samples = await samplesOf(shell, paths, options);
  const maps = await mapsOf(samples, options);
  const networks: ExplainedNetwork[] = [];
  const focus: (PartFocus | null)[] = [];
  let perturb: DetectorErrors | undefined;
  const device = await openDevice(shell);
  try {
    const labels = options.label.length > 0 ? options.label : defaultLabels(options.weights);
    // All files are looked at before the first one takes its time.
    const checkpoints = [];
    for (const path of options.weights) checkpoints.push(await openNetwork(path, options.class));
    perturb = detectorErrorsOf({ ...checkpoints[0].config, perturb: options.perturb });
    for (const [i, checkpoint] of checkpoints.entries()) {
      const explained = await explainedBy(device, checkpoint, labels[i], samples, options.class, {
        perturb,
        onProgress: shell.onProgress(labels[i]),
        onUnreadable: unreadable.onUnreadable,
      });
      if (explained.pictures.size === 0) {
        throw new UserError(`None of the ${samples.length} images could be read; nothing was written.`);
      }
      networks.push(explained);
      focus.push(maps && (await focusOf(explained, maps, checkpoint.config.labels, perturb)));
      samples = samples.filter((sample) => explained.pictures.has(sample));
    }
  } finally {
    device.close();
  }

  const shown = {
    predicted: "Each map is of the person that its classifier takes the picture for.",
    true: "Maps are of the person whom the picture shows; of the one predicted, where the network does not know them.",
  }[options.class as string];
  await mkdir(options.out, { recursive: true });
  const page = join(options.out, EXPLAIN_PAGE);
  const figures: AttentionFigure[] = [];
  for (const sample of samples.slice(0, PAGE_PICTURES)) figures.push(await figureOf(sample, networks, perturb));
  const pictures = `${samples.length} ${samples.length === 1 ? "picture" : "pictures"}`;
  const names = networks.map(({ label }) => label).join(", ");
  const first = samples.length > figures.length ? `the first ${figures.length} of ` : "";
  await writePage(
    page,
    await renderAttentionPage({
      title: "Where the classifiers look",
      subtitle: `${first}${pictures}; ${names}`,
      adapter: { name: device.profile.name, software: device.profile.software },
      shown: shown ?? `Maps are of person ${options.class}.`,
      facts: ["Network", "Classifiers", "Input", "People", ...(maps ? ["On its own part"] : []), "Checkpoint"],
      models: networks.map(({ label, config, classifiers, pids, path }, i) => {
        const size = config.imageSize.join(" x ");
        const own = maps ? [focus[i] ? percent(focus[i].own) : "-"] : [];
        return { label, facts: [modelOf(config).title, classifiers.length, size, pids.length, ...own, path] };
      }),
      figures,
    }),
  );
  const files = uniqueNames(samples.map(({ name }) => basename(name, extname(name)))).map((name) =>
    join(options.out, `${name}.png`),
  );
  const drawing = shell.progress("drawing", files.length);
  for (const [i, file] of files.entries()) {
    await writeFile(file, await attentionPicture(figures[i] ?? (await figureOf(samples[i], networks, perturb))));
    drawing.update(i + 1);
  }
  drawing.stop();
  shell.print(`${pictures}: ${page}`);
  for (const [i, { label }] of networks.entries()) if (maps) printFocus(shell, label, focus[i]);
  return {
    adapter: device.profile.name,
    class: options.class,
    perturb: options.perturb,
    page,
    unreadable: unreadable.count,
    models: networks.map(({ label, path, config, classifiers }, i) => ({
      label,
      weights: path,
      model: config.model,
      classifiers,
      ...(maps && { focus: focus[i] }),
    })),
    images: samples.map((sample, i) => ({
      path: sample.path,
      png: files[i],
      models: networks.map(({ label, pids, pictures }) => ({
        label,
        classifiers: pictures.get(sample)!.map(({ name, shown, predicted, probability, rows, columns, values }) => ({
          name,
          person: pids[shown],
          probability,
          predicted: pids[predicted],
          map: Array.from({ length: rows }, (_, row) =>
            Array.from(values.subarray(row * columns, (row + 1) * columns), (v) => Number(v.toFixed(4))),
          ),
        })),
      })),
    })),
  };
}

/** The pictures with the people whom they show, by the dataset or else by their names; junk where neither tells. */
async function samplesOf(
  shell: Shell,
  paths: readonly string[],
  { data, layout, perturb }: ExplainRun,
): Promise<readonly Sample[]> {
  const listed = new Map<string, Sample>();
  if (data !== undefined) {
    const dataset = await openDataset(shell, data, [], { layout });
    for (const subset of SUBSETS) for (const sample of dataset[subset]) listed.set(resolve(sample.path), sample);
    if (!paths.some((path) => listed.has(resolve(path))))
      shell.warn(
        `none of the images is listed in ${dataset.name} (${dataset.root}); their names must tell who they show`,
      );
  }
  const samples = paths.map((path): Sample => {
    const name = basename(path);
    const { pid, place } = listed.get(resolve(path)) ?? {};
    return { path, name, pid: pid ?? marketName(name)?.pid ?? cuhk03Name(name)?.pid ?? JUNK_PID, camid: 0, place };
  });
  const strangers = samples.filter(({ place }) => place === undefined).length;
  if (perturb > 0 && strangers > 0)
    shell.warn(
      `${strangers} of ${samples.length} pictures are in no dataset named with --data: their detector errors are drawn by their ` +
        "names, and are not those of a training on them.",
    );
  return samples;
}

/** The maps of the pictures, where a folder of them is named. */
async function mapsOf(
  samples: readonly Sample[],
  { parsing, segmentation }: MapOptions,
): Promise<ReadonlyMap<Sample, MapPaths> | null> {
  if (parsing === undefined) return null;
  const found = await findMaps(dirname(resolve(parsing)), samples, { parsing, segmentation });
  return new Map(samples.map((sample, i) => [sample, found[i]]));
}

async function focusOf(
  { pictures }: ExplainedNetwork,
  maps: ReadonlyMap<Sample, MapPaths>,
  labels: LabelSet,
  perturb?: DetectorErrors,
): Promise<PartFocus | null> {
  const seen = [];
  for (const [sample, attention] of pictures) {
    const paths = maps.get(sample)!;
    if (paths.parsing === null) continue;
    const { rows, columns: cols } = attention[0];
    const prior = await priorFromMaps(placeOf(sample), paths, { rows, cols, labels, perturb });
    seen.push({ maps: attention, prior });
  }
  return partFocus(seen);
}

function printFocus(shell: Shell, label: string, focus: PartFocus | null): void {
  if (focus === null) {
    shell.print(`${label}: no classifiers of parts whose maps lie on a person with a reliable prior`);
    return;
  }
  const { shares, own, pictures } = focus;
  shell.print(
    `${label}: of a map on the person, ${percent(own)} lies on the classifier's own part (${percent(1 / shares.length)} by chance; ${pictures} pictures)`,
  );
  const head = ["", ...shares.map((_, part) => `on part ${part + 1}`)];
  const rows = shares.map((row, k) => [`part ${k + 1}`, ...shares.map((_, part) => (row ? percent(row[part]) : "-"))]);
  for (const line of table([head, ...rows])) shell.print(line);
}

async function figureOf(
  sample: Sample,
  networks: readonly ExplainedNetwork[],
  perturb?: DetectorErrors,
): Promise<AttentionFigure> {
  const rows = networks.map(({ label, pictures, pids }) => ({
    label,
    cells: pictures.get(sample)!.map(({ name, shown, predicted, probability, ...map }) => {
      const caption = [`${who(pids[shown])}, ${(100 * probability).toFixed(0)} %`];
      if (predicted !== shown) caption.push(`says ${who(pids[predicted])}`);
      return { ...map, title: name, caption };
    }),
  }));
  const { path, place, name } = sample;
  return { label: name, image: await decodeImage(path, { maxPixels: FIGURE_PIXELS, perturb, place }), rows };
}

/** A person as file names write them. */
const who = (pid: number) => String(pid).padStart(4, "0");

/** The folder of a run, or the file's name where that says more; the whole path where two would be the same. */
function defaultLabels(weights: readonly string[]): string[] {
  const short = weights.map((path) => {
    const stem = basename(path, extname(path));
    return stem === "checkpoint" ? basename(dirname(resolve(path))) : stem;
  });
  return short.map((label, i) => (short.filter((other) => other === label).length > 1 ? weights[i] : label));
}

/** Names of which no two are the same on any file system. */
function uniqueNames(names: readonly string[]): string[] {
  const taken = new Set<string>();
  return names.map((name) => {
    let unique = name;
    for (let i = 2; taken.has(unique.toLowerCase()); i++) unique = `${name}-${i}`;
    taken.add(unique.toLowerCase());
    return unique;
  });
}

/** @throws UserError when writing into the folder could cost what somebody else put there */
async function checkFolder({ out, parsing, segmentation }: ExplainRun, images: readonly string[]): Promise<void> {
  const maps = [parsing, segmentation].filter((folder) => folder !== undefined);
  if ([...images.map((path) => dirname(path)), ...maps].some((folder) => resolve(folder) === resolve(out))) {
    throw new UserError(
      `--out ${out}: pictures to explain or their maps lie there. Choose a folder of its own, so that none is lost.`,
      {
        exitCode: 2,
      },
    );
  }
  await checkOutFolder(out, "explain", () => existsSync(join(out, EXPLAIN_PAGE)));
}
