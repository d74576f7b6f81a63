/**
 * The memory plan: every intermediate gets a place in a slot, reused once its last reader has run. A slot is a buffer of its own. Small
 * tensors lie side by side in it while no large one does; never two that one dispatch binds, as WebGPU lets none bind a buffer for
 * reading and for writing, and shaders declare their inputs read-only.
 */

import { UserError } from "../errors.js";
import type { DeviceProfile } from "../gpu/device.js";
import type { Lowering } from "./lowering.js";
import type { Tensor } from "./tensor.js";

export interface Placement {
  /** The tensor whose memory this one shares (itself where it has its own). */
  readonly root: Tensor;
  readonly byteOffset: number;
}

export interface Plan {
  readonly placement: ReadonlyMap<Tensor, Placement>;
  /** Slot index of each intermediate root, and where in the slot it begins. */
  readonly slotOf: ReadonlyMap<Tensor, { readonly slot: number; readonly byteOffset: number }>;
  readonly slotBytes: readonly number[];
  /** Bytes of intermediates live at the worst moment: no plan can need less. */
  readonly liveBytes: number;
}

const ALIGN = 256;
const align = (bytes: number) => Math.ceil(bytes / ALIGN) * ALIGN;

/** Follows views, packs and in-place updates to the tensor that owns the memory. */
export function resolve(t: Tensor, placed: Lowering["placed"]): Placement {
  let root = t;
  let byteOffset = 0;
  for (let p = placed.get(root); p; p = placed.get(root)) {
    byteOffset += p.byteOffset;
    root = p.parent;
  }
  return { root, byteOffset };
}

/**
 * @param keep tensors that must survive to the end of the program (outputs, hoisted values)
 * @param batch the batch size, if known, to advise one that fits when a tensor exceeds the adapter's limits
 */
export function planMemory(lowering: Lowering, keep: readonly Tensor[], profile: DeviceProfile, batch?: number): Plan {
  const placement = new Map<Tensor, Placement>();
  const place = (t: Tensor): Placement => {
    let p = placement.get(t);
    if (!p) {
      p = resolve(t, lowering.placed);
      placement.set(t, p);
    }
    return p;
  };

  const first = new Map<Tensor, number>();
  const last = new Map<Tensor, number>();
  const bytes = new Map<Tensor, number>();
  const boundBeside = new Map<Tensor, Set<Tensor>>();
  lowering.launches.forEach((launch, at) => {
    const bound = new Set<Tensor>();
    for (const t of Object.values(launch.bindings)) {
      const { root, byteOffset } = place(t);
      checkLimit(t, profile, batch);
      if (root.leaf && root.leaf.kind !== "scratch") continue;
      bytes.set(root, Math.max(bytes.get(root) ?? 0, align(byteOffset + t.bytes)));
      if (!first.has(root)) first.set(root, at);
      last.set(root, at);
      bound.add(root);
    }
    for (const root of bound) {
      const others = boundBeside.get(root) ?? new Set();
      for (const other of bound) others.add(other);
      boundBeside.set(root, others);
    }
  });
  for (const t of keep) {
    const { root } = place(t);
    if (first.has(root)) last.set(root, lowering.launches.length);
  }

  const delta = new Float64Array(lowering.launches.length + 2);
  for (const root of first.keys()) {
    delta[first.get(root)!] += bytes.get(root)!;
    delta[last.get(root)! + 1] -= bytes.get(root)!;
  }
  let live = 0;
  let liveBytes = 0;
  for (const d of delta) liveBytes = Math.max(liveBytes, (live += d));
  const { slots, slotOf } = fewestBytes(
    [...first.keys()].map((root) => ({
      root,
      bytes: bytes.get(root)!,
      first: first.get(root)!,
      last: last.get(root)!,
      boundBeside: boundBeside.get(root)!,
    })),
    liveBytes,
  );
  return { placement, slotOf, slotBytes: slots.map((s) => s.bytes), liveBytes };
}

interface Life {
  readonly root: Tensor;
  readonly bytes: number;
  readonly first: number;
  readonly last: number;
  /** What some dispatch binds with it. */
  readonly boundBeside: ReadonlySet<Tensor>;
}

interface Lodger extends Life {
  readonly byteOffset: number;
}

interface Slots {
  readonly slots: readonly { readonly bytes: number }[];
  readonly slotOf: Plan["slotOf"];
}

/** How much more than `liveBytes` is not worth another attempt: an attempt takes milliseconds of every start. */
const NEAR = 1.01;

/** Greedy by size, the largest tensor first; of some ways to do that, the first that is near the least possible, or else the best. */
function fewestBytes(lives: readonly Life[], liveBytes: number): Slots {
  const byDuration = (a: Life, b: Life) => b.last - b.first - (a.last - a.first);
  const orders = [(a: Life, b: Life) => a.first - b.first, byDuration];
  const total = ({ slots }: Slots) => slots.reduce((sum, s) => sum + s.bytes, 0);
  let best: Slots | undefined;
  for (const order of orders)
    for (const smallest of [true, false]) {
      const way = pack(
        lives.toSorted((a, b) => b.bytes - a.bytes || order(a, b)),
        smallest,
      );
      if (!best || total(way) < total(best)) best = way;
      if (total(best) <= NEAR * liveBytes) return best;
    }
  return best!;
}

/** Each into a gap that is free for its whole life: the smallest such gap, or one of the first slot that was made. */
function pack(order: readonly Life[], smallest: boolean): Slots {
  const slots: { bytes: number; lodgers: Lodger[] }[] = [];
  const slotOf = new Map<Tensor, { slot: number; byteOffset: number }>();
  for (const life of order) {
    let best: { slot: number; byteOffset: number; bytes: number } | undefined;
    for (const [slot, { bytes, lodgers }] of slots.entries()) {
      const gap = smallestGap(life, bytes, lodgers);
      if (gap && (!best || gap.bytes < best.bytes)) best = { slot, ...gap };
      if (best && !smallest) break;
    }
    if (!best) best = { slot: slots.push({ bytes: life.bytes, lodgers: [] }) - 1, byteOffset: 0, bytes: life.bytes };
    const { slot, byteOffset } = best;
    slots[slot].lodgers.push({ ...life, byteOffset });
    slotOf.set(life.root, { slot, byteOffset });
  }
  return { slots, slotOf };
}

/** The smallest gap of a slot of so many bytes between those who lodge there at some time of a life, if it may lie beside them. */
function smallestGap(life: Life, slotBytes: number, lodgers: readonly Lodger[]) {
  const beside = lodgers
    .filter((l) => l.last >= life.first && l.first <= life.last)
    .sort((a, b) => a.byteOffset - b.byteOffset);
  if (beside.some(({ root }) => life.boundBeside.has(root))) return undefined;
  let best: { byteOffset: number; bytes: number } | undefined;
  let from = 0;
  for (const to of [...beside, { byteOffset: slotBytes, bytes: 0 }]) {
    const bytes = to.byteOffset - from;
    if (bytes >= life.bytes && (!best || bytes < best.bytes)) best = { byteOffset: from, bytes };
    from = Math.max(from, to.byteOffset + to.bytes);
  }
  return best;
}

function checkLimit(t: Tensor, profile: DeviceProfile, batch?: number): void {
  if (t.bytes <= profile.maxBindingBytes) return;
  const mib = (n: number) => `${(n / 2 ** 20).toFixed(1)} MiB`;
  const fits = batch && t.shape[0] % batch === 0 ? Math.floor((batch * profile.maxBindingBytes) / t.bytes) : 0;
  const advice = fits > 0 ? `; a batch of ${fits} would fit` : "; use smaller images or a smaller batch";
  throw new UserError(
    `${t} takes ${mib(t.bytes)}, but the adapter ${profile.name} binds at most ${mib(profile.maxBindingBytes)} at once${advice}.`,
  );
}
