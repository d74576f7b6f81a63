/** Steps, checkpoints and evaluations of a training run in their order, and what an interrupt does to them. */
import { copyFileSync, existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { Shell } from "#src/cli/shell.js";
import { type Evaluator, trainLoop } from "#src/cli/train-loop.js";
import { readSafetensors } from "#src/formats/safetensors.js";
import { parseTrainConfig } from "#src/training/config.js";
import type { Trainer } from "#src/training/trainer.js";
import { mpn } from "../support/mpn.js";
import { temporaryFolder, tinyArguments, writeTinyDataset } from "../support/tiny.js";

/**
 * Four epochs of two steps with an evaluation of ten batches after each.
 * @param interruptAt Ctrl-C at this event, such as "evaluating 3/10"
 */
async function looped(checkpointEvery: number, interruptAt?: string) {
  const events: string[] = [];
  let interrupt = () => {};
  const happen = (event: string) => {
    events.push(event);
    if (event === interruptAt) interrupt();
  };
  const shell = {
    note: (line: string) => happen(line.replace(/:.*/, "")),
    progress: () => ({
      update: (_: number, note: string) => note.startsWith("evaluating") && happen(note),
      stop: () => {},
    }),
    onInterrupt: (stop: () => void) => {
      interrupt = stop;
      return () => {};
    },
  } as Partial<Shell> as Shell;
  let done = 0;
  const trainer = {
    get step() {
      return done;
    },
    totalSteps: 8,
    stepsPerEpoch: 2,
    get epoch() {
      return Math.floor(done / 2);
    },
    async run(each: (latest: null) => boolean | Promise<boolean>) {
      do happen(`step ${++done}`);
      while (await each(null));
    },
    save: async () => happen("saved"),
    metrics: { append: ({ step }: { step: number }) => happen(`logged ${step}`) },
  } as unknown as Trainer;
  const evaluator = {
    run: async (display: string | ((done: number, total: number) => void), { signal }: { signal: AbortSignal }) => {
      if (typeof display === "string") throw new Error("a second display");
      for (let batch = 1; batch <= 10; batch++) {
        signal.throwIfAborted();
        display(batch, 10);
      }
      return { fields: { rank1: 1, mAP: 1 }, single: { release: () => happen("released") } };
    },
  } as unknown as Evaluator;
  const config = parseTrainConfig({ epochs: 4, evaluateEvery: 1, checkpointEvery });
  return { stopped: await trainLoop(shell, config, trainer, evaluator), events };
}

const batches = (count: number) => Array.from({ length: count }, (_, i) => `evaluating ${i + 1}/10`);

test("steps are saved before an evaluation, once, and its progress is the training's", async () => {
  for (const checkpointEvery of [1, 10]) {
    const { stopped, events } = await looped(checkpointEvery);
    assert.is(stopped, false);
    const epoch = (n: number) => [
      `step ${2 * n - 1}`,
      `step ${2 * n}`,
      "saved",
      ...batches(10),
      "released",
      `logged ${2 * n}`,
      `epoch ${n}`,
    ];
    assert.equal(events, [...epoch(1), ...epoch(2), ...epoch(3), "step 7", "step 8", "saved"]);
  }
});

test("an interrupt ends an evaluation after the batch, which is dropped, and nothing is saved twice", async () => {
  const { stopped, events } = await looped(10, "evaluating 3/10");
  assert.is(stopped, true);
  const said = "Leaving the evaluation; all steps are saved.";
  assert.equal(events, ["step 1", "step 2", "saved", ...batches(3), said]);
});

test("an interrupt before an evaluation that is due saves and does not begin it", async () => {
  const { stopped, events } = await looped(10, "step 2");
  assert.is(stopped, true);
  assert.equal(events, ["step 1", "step 2", "Stopping after this step and saving ...", "saved"]);
});

const folder = temporaryFolder();
const dataset = join(folder, "dataset");

test("SIGTERM during an evaluation ends the run with 130, its steps saved, and it goes on", async () => {
  await writeTinyDataset(dataset);
  const gallery = join(dataset, "bounding_box_test");
  for (let shot = 3; shot < 2000; shot++)
    copyFileSync(
      join(gallery, "0004_c2s1_000001_00.jpg"),
      join(gallery, `0004_c2s1_${`${shot}`.padStart(6, "0")}_00.jpg`),
    );
  const out = join(folder, "run");
  const checkpoint = join(out, "checkpoint.safetensors");
  const config = [...tinyArguments, "--set", "evaluateEvery=1", "--set", "checkpointEvery=10"];
  let sent = false;
  const { code, stderr } = await mpn(["train", dataset, "--out", out, ...config], (child) => {
    if (sent) return;
    sent = true;
    const timer = setInterval(() => {
      if (!existsSync(checkpoint)) return;
      clearInterval(timer);
      // Long after the checkpoint and long before the end of 2000 pictures.
      setTimeout(() => child.kill("SIGTERM"), 300);
    }, 5);
    timer.unref();
  });
  assert.is(code, 130, stderr);
  assert.match(stderr, "Leaving the evaluation; all steps are saved.");
  const rows = readFileSync(join(out, "metrics.jsonl"), "utf8").trim().split("\n");
  assert.equal(
    rows.map((row) => [JSON.parse(row).step, "evaluation" in JSON.parse(row)]),
    [
      [1, false],
      [2, false],
    ],
  );
  assert.is(JSON.parse((await readSafetensors(checkpoint)).metadata.step), 2);
});

test.run();
