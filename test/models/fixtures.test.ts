import { readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { verifyMetrics, verifyPrior } from "#src/cli/verify-exact.js";
import { readSafetensors, type SafetensorsFile } from "#src/formats/safetensors.js";
import { Device } from "#src/gpu/device.js";
import { WINOGRAD } from "#src/ops/conv-choice.js";
import { MODEL_BOUNDS, verifyModel } from "#src/training/verify-model.js";
import { forced } from "../support/forced.js";

const folder = join(import.meta.dirname, "../fixtures");

// Fixtures decide whether a kernel is right, so they run with the driver's index clamps.
const device = await Device.open({ robust: true });

async function errorsOf(file: SafetensorsFile, path: string): Promise<Record<string, number>> {
  switch (file.metadata.kind) {
    case "mpn":
      return verifyModel(device, file, path);
    case "prior":
      return verifyPrior(file, path);
    case "metrics":
      return verifyMetrics(file, path);
    default:
      throw new Error(`${path}: unknown kind ${file.metadata.kind}`);
  }
}

function boundOf(kind: string, group: string): number {
  if (kind === "mpn") return MODEL_BOUNDS[group];
  return kind === "prior" || group === "counts" ? 0 : 1e-5;
}

const files = readdirSync(folder).filter((name) => name.endsWith(".safetensors"));

for (const name of files) {
  test(name, async () => {
    const file = await readSafetensors(join(folder, name));
    const errors = await errorsOf(file, name);
    assert.ok(Object.keys(errors).length > 0);
    for (const [group, error] of Object.entries(errors)) {
      const bound = boundOf(file.metadata.kind, group);
      assert.ok(error <= bound, `${group} is off by ${error}, more than ${bound}`);
    }
  });
}

// An adapter that calls itself a GPU is given the kernels for GPUs; which of them depends on its vendor.
for (const [vendor, name, tuned] of [
  ["nvidia", "mpn-nesterov"],
  ["amd", "naive-mtl"],
  ["intel", "mt-only"],
  ["apple", "roi-resize"],
  ["another", "soft-conv1"],
  ["nvidia", "mpn", forced(WINOGRAD)],
] as const) {
  test(`${name} by the kernels for GPUs of ${vendor}${tuned ? ", tuned to Winograd" : ""}`, async () => {
    const before = device.profile;
    const { kernels } = device;
    const used = new Set<string>();
    const get = kernels.get.bind(kernels);
    kernels.get = (spec) => {
      used.add(spec.shader);
      return get(spec);
    };
    device.profile = { ...before, software: false, vendor, tuned };
    try {
      const path = `${name}.safetensors`;
      const errors = await verifyModel(device, await readSafetensors(join(folder, path)), path);
      for (const [group, error] of Object.entries(errors))
        assert.ok(error <= MODEL_BOUNDS[group], `${group} is off by ${error}, more than ${MODEL_BOUNDS[group]}`);
      assert.is(
        used.has("winograd_output") && used.has("winograd_weight_grad"),
        tuned !== undefined,
        "runs by Winograd",
      );
    } finally {
      device.profile = before;
      kernels.get = get;
    }
  });
}

test("all kinds are there", async () => {
  const kinds = await Promise.all(files.map(async (name) => (await readSafetensors(join(folder, name))).metadata.kind));
  assert.equal([...new Set(kinds)].sort(), ["metrics", "mpn", "prior"]);
});

test.after(() => device.close());
test.run();
