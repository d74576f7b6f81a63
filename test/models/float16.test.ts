/** The fixtures with maps in float16, within the bounds that verify states for it. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { readSafetensors } from "#src/formats/safetensors.js";
import { Device } from "#src/gpu/device.js";
import { HALF_BOUNDS, MODEL_BOUNDS, verifyModel } from "#src/training/verify-model.js";
import { asGpu } from "../support/forced.js";

const folder = join(import.meta.dirname, "../fixtures");
const device = await Device.open({ robust: true });

for (const name of readdirSync(folder).filter((file) => file.endsWith(".safetensors"))) {
  const file = await readSafetensors(join(folder, name));
  if (file.metadata.kind !== "mpn") continue;
  test(name, async () => {
    const errors = await verifyModel(device, file, name, { precision: "float16" });
    assert.ok(errors.features > MODEL_BOUNDS.features / 10, "float16 was not used");
    assert.ok("update" in errors && "gradients" in errors);
    for (const [group, error] of Object.entries(errors)) {
      assert.ok(error <= HALF_BOUNDS[group], `${group} is off by ${error}, more than ${HALF_BOUNDS[group]}`);
    }
  });
}

// Which kernels for GPUs batch norm and sums take depends on how maps are stored.
for (const name of ["mpn.safetensors", "mpn-star.safetensors"]) {
  test(`${name} by the kernels for GPUs`, async () => {
    const file = await readSafetensors(join(folder, name));
    const errors = await asGpu(device, () => verifyModel(device, file, name, { precision: "float16" }));
    for (const [group, error] of Object.entries(errors))
      assert.ok(error <= HALF_BOUNDS[group], `${group} is off by ${error}, more than ${HALF_BOUNDS[group]}`);
  });
}

test("what is compared of a rounded run is its first step, the update by its own gradients", async () => {
  const name = "mpn.safetensors";
  const file = await readSafetensors(join(folder, name));
  assert.ok(Number(file.metadata.steps) > 1);
  const exact = await verifyModel(device, file, name);
  const rounded = await verifyModel(device, file, name, { rounded: true });
  // In float32 all that both compare is the same but for the losses of later steps.
  for (const group of ["features", "map", "gradients", "running"]) assert.is(rounded[group], exact[group], group);
  assert.is.not(rounded.losses, exact.losses);
  assert.is.not(rounded.update, exact.update);
  for (const [group, error] of Object.entries(rounded))
    assert.ok(error <= Math.min(HALF_BOUNDS[group], MODEL_BOUNDS[group] ?? 1e-5), `${group} ${error}`);
});

test.after(() => device.close());
test.run();
