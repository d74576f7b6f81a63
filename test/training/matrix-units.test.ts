/** What a trainer makes of a device with matrix units: whether it uses them, and scales its loss. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { Sample } from "#src/data/dataset.js";
import { Device } from "#src/gpu/device.js";
import type { KernelSpec } from "#src/gpu/kernel.js";
import { loadConfig } from "#src/training/load-config.js";
import { halves, lossScalingOf } from "#src/training/loss-scale.js";
import { Trainer } from "#src/training/trainer.js";
import { paperProfile, paperUnits } from "../support/profile.js";
import { TINY_SETTINGS, temporaryFolder } from "../support/tiny.js";

/** On a device that runs nothing. */
async function trainerOf(components: "f16" | "f32", settings: readonly string[]) {
  const device = await Device.open({ backend: "null", matrixUnits: true });
  const features = [...device.profile.features];
  device.profile = paperProfile({ software: false, features, matrixUnits: paperUnits(8, { components }) });
  const kernels: KernelSpec[] = [];
  const get = device.kernels.get.bind(device.kernels);
  device.kernels.get = (spec) => {
    kernels.push(spec);
    return get(spec);
  };
  const labels = Int32Array.of(0, 0, 1, 1, 2, 2);
  const samples = Array.from(labels, (pid, i): Sample => ({ path: `${i}`, name: "", pid, camid: 1 }));
  const config = loadConfig({ set: [...TINY_SETTINGS, "channelAttention=false", "prior=uniform", ...settings] });
  const folder = temporaryFolder();
  const trainer = await Trainer.create({ device, config, samples, labels, pids: [0, 1, 2], folder });
  const { lossScale } = trainer as unknown as { lossScale?: { scaling: object } };
  await trainer.close();
  device.close();
  const units = kernels.filter(({ shader }) => /matrix/.test(shader)).length;
  return { units, scaling: lossScale?.scaling };
}

test("gradients of halves are those of a scaled loss, by units as by storage, and nothing else is scaled", async () => {
  const dynamic = lossScalingOf("dynamic", true);
  const on = await trainerOf("f16", ["matrixUnits=true"]);
  assert.ok(on.units > 0);
  assert.equal(on.scaling, dynamic);
  assert.equal((await trainerOf("f16", ["matrixUnits=true", "lossScale=8"])).scaling, { initial: 8, dynamic: false });
  const whole = await trainerOf("f32", ["matrixUnits=true"]);
  assert.ok(whole.units > 0);
  assert.is(whole.scaling, undefined, "units of f32 round nothing");
  assert.equal(
    await trainerOf("f16", []),
    { units: 0, scaling: undefined },
    "a device that has units nobody asked for",
  );
});

test("storage in float16 and usable matrix units of f16 count as rounded, and nothing else does", () => {
  const units = (components: "f16" | "f32", lanes = 32) =>
    paperProfile({ software: false, matrixUnits: paperUnits(8, { components, lanes }) });
  assert.is(halves(paperProfile(), "float32"), false);
  assert.is(halves(paperProfile(), "float16"), true);
  assert.is(halves(undefined, "float16"), true);
  assert.is(halves(units("f16"), "float32"), true);
  assert.is(halves(units("f32"), "float32"), false);
  assert.is(halves(units("f16", 64), "float32"), false, "for subgroups of 64 there is no kernel");
});

test.run();
