import { test } from "uvu";
import * as assert from "uvu/assert";
import { UserError } from "#src/errors.js";
import { Lowering } from "#src/graph/lowering.js";
import { type Plan, planMemory } from "#src/graph/plan.js";
import { Program } from "#src/graph/program.js";
import { input, reachable, type Tensor } from "#src/graph/tensor.js";
import { add, conv2d, pack, relu, reshape, scale, slice } from "#src/ops/index.js";
import { closeDevice, draw, relativeError, sharedDevice, typed } from "../support/op.js";
import { paperProfile } from "../support/profile.js";
import { randomGraph } from "../support/random-graph.js";

const profile = paperProfile();

function planned(outputs: readonly Tensor[]): { lowering: Lowering; plan: Plan } {
  const lowering = new Lowering(profile);
  lowering.lower(reachable(outputs));
  return { lowering, plan: planMemory(lowering, outputs, profile) };
}

/** First and last dispatch that touches each slot's tenants, found anew from the dispatches alone. */
function lives({ lowering, plan }: ReturnType<typeof planned>, outputs: readonly Tensor[]) {
  const spans = new Map<Tensor, { from: number; to: number; bytes: number }>();
  const touch = (t: Tensor, at: number) => {
    const { root, byteOffset } = plan.placement.get(t)!;
    if (!plan.slotOf.has(root)) return;
    const span = spans.get(root) ?? { from: at, to: at, bytes: 0 };
    spans.set(root, { from: span.from, to: at, bytes: Math.max(span.bytes, byteOffset + t.bytes) });
  };
  lowering.launches.forEach(({ bindings }, at) => {
    for (const t of Object.values(bindings)) touch(t, at);
  });
  for (const t of outputs) if (plan.placement.has(t)) touch(t, lowering.launches.length);
  return spans;
}

test("on random graphs no two live tensors overlap in a slot, and none that one dispatch binds share it", () => {
  let besides = 0;
  for (let seed = 1; seed <= 60; seed++) {
    const outputs = randomGraph(seed, 5 + seed);
    const made = planned(outputs);
    const { plan } = made;
    const spans = [...lives(made, outputs)];
    for (const [t, span] of spans) {
      const { slot, byteOffset } = plan.slotOf.get(t)!;
      assert.is(byteOffset % 256, 0);
      assert.ok(byteOffset + span.bytes <= plan.slotBytes[slot], `seed ${seed}: ${t} does not fit`);
      for (const [other, span2] of spans) {
        const place = plan.slotOf.get(other)!;
        if (other === t || place.slot !== slot || span.to < span2.from || span2.to < span.from) continue;
        const apart = byteOffset + span.bytes <= place.byteOffset || place.byteOffset + span2.bytes <= byteOffset;
        assert.ok(apart, `seed ${seed}: ${t} and ${other} overlap in slot ${slot}`);
        besides++;
      }
    }
    for (const { bindings, label } of made.lowering.launches) {
      const roots = [...new Set(Object.values(bindings).map((t) => plan.placement.get(t)!.root))];
      const slots = roots.flatMap((t) => plan.slotOf.get(t)?.slot ?? []);
      assert.is(new Set(slots).size, slots.length, `seed ${seed}: ${label} binds a slot twice`);
    }
  }
  assert.ok(besides > 0, "no two lie side by side");
});

test("small tensors lie side by side where a large one was", () => {
  const large = relu(input("x", [8 * 256]));
  const small = relu(slice(large, 0, 0, 256));
  // All are there before the first one is read.
  const scaled = [1, 2, 3, 4, 5, 6].map((factor) => scale(small, factor));
  const { plan } = planned([scaled.reduce((sum, t) => add(sum, t), input("y", [256]))]);
  const [first, ...others] = plan.slotBytes;
  assert.is(first, large.bytes);
  // Sums are bound together with what they add, so that they lie elsewhere.
  assert.ok(others.length <= 2 && others.every((bytes) => bytes === 1024), `${others}`);
});

test("on random graphs the slots hold at least what is live, and far less than everything", () => {
  let [slots, everything] = [0, 0];
  for (let seed = 1; seed <= 60; seed++) {
    const outputs = randomGraph(seed, 5 + seed);
    const made = planned(outputs);
    const spans = [...lives(made, outputs).values()];
    const total = made.plan.slotBytes.reduce((a, b) => a + b, 0);
    const live = made.lowering.launches.map((_, at) =>
      spans.reduce((sum, s) => sum + (s.from <= at && at <= s.to ? s.bytes : 0), 0),
    );
    assert.ok(made.plan.liveBytes >= Math.max(...live), `seed ${seed}: live bytes are underestimated`);
    assert.ok(total >= made.plan.liveBytes, `seed ${seed}: ${total} bytes of slots, ${made.plan.liveBytes} live`);
    slots += total;
    everything += spans.reduce((sum, s) => sum + s.bytes, 0);
  }
  assert.ok(slots < everything / 2, `${slots} of ${everything} bytes`);
});

test("a random graph gives the same values whether intermediates share memory or not", async () => {
  const device = await sharedDevice();
  for (const seed of [3, 11, 42]) {
    const outputs = randomGraph(seed, 30);
    const all = reachable(outputs).flatMap((node) => node.outputs.filter((t) => t.dtype === "f32"));
    const named = (list: readonly Tensor[]) => Object.fromEntries(list.map((t) => [`t${t.id}`, t]));
    const feeds = { a: typed(draw(256, "uniform", seed)), b: typed(draw(256, "uniform", seed + 1)) };
    const names = Object.keys(named(outputs));
    const shared = await Program.compile(device, { outputs: named(outputs) });
    const apart = await Program.compile(device, { outputs: named([...new Set([...outputs, ...all])]) });
    assert.ok(shared.memory.intermediates < apart.memory.intermediates);
    const [one, two] = [await shared.run(feeds, names), await apart.run(feeds, names)];
    for (const name of names) assert.ok(relativeError(one[name], two[name]) === 0, `seed ${seed}: ${name} differs`);
    shared.destroy();
    apart.destroy();
  }
});

test("a chain needs two slots, however long it is", () => {
  let x = input("x", [256]);
  for (let i = 0; i < 10; i++) x = relu(x);
  assert.is(planned([x]).plan.slotBytes.length, 2);
  assert.is(planned([x]).plan.liveBytes, 2 * 1024);
});

test("views and packs lie inside their owners", () => {
  const x = relu(input("x", [4, 64]));
  const view = slice(reshape(x, [256]), 0, 128, 192);
  const parts = [scale(view, 2), scale(x, 3)];
  const flat = pack(parts, [0, 256], 64 + 256);
  const { plan } = planned([flat]);
  assert.equal(plan.placement.get(view), { root: x, byteOffset: 512 });
  assert.equal(plan.placement.get(parts[0]), { root: flat, byteOffset: 0 });
  assert.equal(plan.placement.get(parts[1]), { root: flat, byteOffset: 256 });
});

test("a tensor beyond the adapter's limit is named, with its bytes, the limit and a batch that fits", () => {
  const narrow = paperProfile({ name: "Tiny 3000", maxBindingBytes: 2 ** 20 });
  const refused = (batch?: number): Error => {
    const y = conv2d(input("images", [8, 64, 32, 4]), input("w", [1, 1, 4, 32]));
    const lowering = new Lowering(narrow);
    lowering.lower(reachable([y]));
    try {
      planMemory(lowering, [y], narrow, batch);
    } catch (error) {
      return error as Error;
    }
    throw new Error("the plan was accepted");
  };
  const error = refused(8);
  assert.instance(error, UserError);
  for (const part of ["conv2d[8, 64, 32, 32]", "2.0 MiB", "Tiny 3000", "1.0 MiB", "a batch of 4 would fit"])
    assert.ok(error.message.includes(part), `"${error.message}" lacks "${part}"`);
  assert.match(refused().message, /smaller images or a smaller batch/);
});

test("inputs take no slot, as they keep their own buffers", () => {
  const [a, b] = [input("a", [64]), input("b", [64])];
  const { plan } = planned([add(a, b)]);
  assert.not.ok([a, b].some((t) => plan.slotOf.has(t)));
});

test.after(closeDevice);
test.run();
