/** A fixture on matrix units, within the bounds that verify states for units of f16: emulated ones, where the adapter has none. */
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { readSafetensors } from "#src/formats/safetensors.js";
import { Device } from "#src/gpu/device.js";
import { usableUnits } from "#src/ops/conv-matrix.js";
import { HALF_BOUNDS, MODEL_BOUNDS, verifyModel } from "#src/training/verify-model.js";
import { emulateMatrixUnits } from "../support/matrix-emulation.js";
import { paperUnits } from "../support/profile.js";

test("a network's features, losses, gradients and first step on matrix units of f16", async () => {
  const device = await Device.open({ robust: true, matrixUnits: true });
  if (!usableUnits(device.profile)) {
    emulateMatrixUnits(device, paperUnits(8));
    // As little text to compile as there can be, for all that the units make.
    const tile = { subgroupsY: 1, subgroupsX: 1, rows: 8, cols: 8, depth: 16, prefetch: 0, perUnit: 2, splits: 1 };
    const made = (key: string) => (/ with units /.test(key) ? { kernel: "matrix", tile } : undefined);
    device.useTuned(new Proxy({}, { get: (_, key) => made(String(key)) }));
  }
  const shaders = new Set<string>();
  const get = device.kernels.get.bind(device.kernels);
  device.kernels.get = (spec) => {
    shaders.add(spec.shader);
    return get(spec);
  };
  const name = "mpn.safetensors";
  const errors = await verifyModel(device, await readSafetensors(join(import.meta.dirname, "../fixtures", name)), name);
  device.close();
  for (const made of [/^conv_(matrix|wide)$/, /^conv_weight_grad_(matrix|wide)$/])
    assert.ok(
      [...shaders].some((shader) => made.test(shader)),
      String(made),
    );
  assert.ok(usableUnits(device.profile)?.components !== "f16" || errors.features > MODEL_BOUNDS.features / 10);
  assert.ok("update" in errors && "gradients" in errors);
  for (const [group, error] of Object.entries(errors))
    assert.ok(error <= HALF_BOUNDS[group], `${group} is off by ${error}, more than ${HALF_BOUNDS[group]}`);
});

test.run();
