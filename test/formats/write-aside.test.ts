import { spawnSync } from "node:child_process";
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { removeLeftovers } from "#src/formats/write-aside.js";
import { temporaryFolder } from "../support/tiny.js";

test("only what a dead process left of this very file is removed", async () => {
  const folder = temporaryFolder();
  const dead = spawnSync(process.execPath, ["--version"]).pid;
  const kept = [
    "model.safetensors",
    `model.safetensors.tmp-${process.pid}`,
    `model.safetensors.tmp-${process.ppid}`,
    `model.safetensors.tmp-${dead}.bak`,
    `model.safetensors.tmp-0${dead}`,
    "model.safetensors.tmp-",
    "model.safetensors.tmp-mine",
    "model.safetensors.tmp-99999999999999999999",
    `my-model.safetensors.tmp-${dead}`,
    `modelXsafetensors.tmp-${dead}`,
  ];
  for (const name of [...kept, `model.safetensors.tmp-${dead}`]) writeFileSync(join(folder, name), "");
  await removeLeftovers(join(folder, "model.safetensors"));
  assert.equal(readdirSync(folder).sort(), kept.sort());
});

test.run();
