/** The flags of `npm run bench`, and what a section is told. */
import { type Command, InvalidArgumentError, Option } from "commander";
import type { Peak } from "#src/cli/bench/peak.js";
import { collect, heightByWidth, wholeNumber } from "#src/cli/shell.js";
import type { Device } from "#src/gpu/device.js";
import type { Work } from "./peer.js";
import type { Ability } from "./systems.js";

export const SECTIONS = ["adapter", "models", "step", "convolutions", "kernels", "small", "memory"] as const;
export type SectionName = (typeof SECTIONS)[number];
const WORKS = ["infer", "train", "step"] as const satisfies readonly Work[];

/** As given; what is absent depends on the adapter and on `--quick`. */
export interface Flags {
  readonly sections: readonly SectionName[];
  readonly quick: boolean;
  readonly markdown: boolean;
  readonly out?: string;
  readonly size?: [number, number];
  readonly batch?: number;
  readonly set: readonly string[];
  readonly systems?: readonly string[];
  readonly cases: readonly Work[];
  readonly rounds?: number;
  readonly starts?: number;
  readonly limit: number;
  readonly warmCache: boolean;
}

export interface Settings {
  readonly size: readonly [number, number];
  /** Settings of the models over their presets', as `key=value`. */
  readonly set: readonly string[];
  /** Batches of each kind of work in the comparison; the largest one of `step` also that of the profile and the kernels. */
  readonly batches: Readonly<Record<Work, readonly number[]>>;
  readonly works: readonly Work[];
  /** Runs after the first one: of each system, and of everything else that is timed. */
  readonly rounds: number;
  /** First starts and second starts of each system, where they are short. */
  readonly starts: number;
  readonly convolutionBatch: number;
  /** Of the training step whose memory is compared with PyTorch's. */
  readonly memoryBatch: number;
  /** Steps of `small` that are timed. */
  readonly smallSteps: number;
  /** Pictures of each of its synthetic people by each camera. */
  readonly smallPictures: number;
  readonly systems?: readonly string[];
  readonly limitSeconds: number;
  readonly warmCache: boolean;
}

export interface Context extends Settings {
  readonly adapter: string;
  readonly software: boolean;
  readonly abilities: readonly Ability[];
  /** Problems for which `mpn tune` found a kernel on this adapter. */
  readonly tuned: number;
  /** The adapter, with what `mpn tune` found on it. */
  readonly open: () => Promise<Device>;
  /** The best that was measured so far. */
  readonly peak: Peak;
  /** A line about what goes on. */
  readonly say: (line: string) => void;
}

/** Declares the flags. */
export function withFlags(command: Command): Command {
  return command
    .option("--sections <names>", `only these, of ${SECTIONS.join(", ")}`, listOf(SECTIONS), [...SECTIONS])
    .option("--quick", "small images and few runs, to see that everything works", false)
    .option("--markdown", "print Markdown", false)
    .option(
      "--out <file>",
      "write the report there, after each section, instead of printing it; as data where it ends in .json",
    )
    .option("--size <HxW>", "height and width of the images (default: 384x128)", heightByWidth)
    .option(
      "--set <key=value>",
      "one setting of the models, over their presets', such as width=16; repeatable",
      collect,
      [],
    )
    .option(
      "--batch <n>",
      "images of a batch (default: 1, 4 and 32 for infer, 4 for train; on a GPU 48 too)",
      wholeNumber(1),
    )
    .option("--systems <names>", "only these systems are compared", (text: string) => text.split(","))
    .option("--cases <works>", `only these are compared, of ${WORKS.join(", ")}`, listOf(WORKS), [...WORKS])
    .option("--rounds <n>", "runs after the first one (default: 5 on a software adapter, 20 on others)", wholeNumber(1))
    .option("--starts <n>", "first and second starts of each system, where they are short (default: 3)", wholeNumber(0))
    .addOption(
      new Option("--limit <seconds>", "a system that takes longer over one answer is given up")
        .argParser(wholeNumber(1))
        .default(900),
    )
    .option("--warm-cache", "start with the adapter's own cache of shaders instead of an empty one", false);
}

function listOf<T extends string>(known: readonly T[]): (text: string) => T[] {
  return (text) => {
    const names = text.split(",").map((name) => name.trim());
    const unknown = names.filter((name) => !known.some((k) => k === name));
    if (unknown.length > 0) throw new InvalidArgumentError(`There is no ${unknown.join(", ")}.`);
    return known.filter((name) => names.includes(name));
  };
}

/** Fills in what the flags leave open. */
export function settingsOf(flags: Flags, software: boolean): Settings {
  const { quick, batch } = flags;
  const only = (...batches: number[]) => (batch === undefined ? batches : [batch]);
  const large = software || quick ? [] : [48];
  return {
    size: flags.size ?? (quick ? [96, 32] : [384, 128]),
    batches: quick
      ? { infer: only(2), train: only(2), step: only(4) }
      : { infer: only(1, 4, 32), train: only(4, ...large), step: only(4, ...large) },
    works: flags.cases,
    rounds: flags.rounds ?? (quick ? 1 : software ? 5 : 20),
    starts: flags.starts ?? (quick ? 1 : 3),
    convolutionBatch: batch ?? (software ? 1 : 32),
    memoryBatch: batch ?? (quick ? 4 : 8),
    smallPictures: quick ? 2 : 4,
    smallSteps: quick ? 4 : software ? 20 : 200,
    set: flags.set,
    systems: flags.systems,
    limitSeconds: flags.limit,
    warmCache: flags.warmCache,
  };
}
