/**
 * The memory plan: every intermediate gets a slot, reused once its last reader has run. A slot is a buffer of its
 * own, so that no dispatch binds one buffer for reading and writing, and shaders may declare inputs read-only.
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
  /** Slot index of each intermediate root. */
  readonly slotOf: ReadonlyMap<Tensor, number>;
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
  const touch = (t: Tensor, at: number) => {
    const { root, byteOffset } = place(t);
    checkLimit(t, profile, batch);
    if (root.leaf && root.leaf.kind !== "scratch") return;
    bytes.set(root, Math.max(bytes.get(root) ?? 0, align(byteOffset + t.bytes)));
    if (!first.has(root)) first.set(root, at);
    last.set(root, at);
  };
  lowering.launches.forEach((launch, at) => {
    for (const t of Object.values(launch.bindings)) touch(t, at);
  });
  for (const t of keep) {
    const { root } = place(t);
    if (first.has(root)) last.set(root, lowering.launches.length);
  }

  const { slots, slotOf } = fewestBytes(
    [...first.keys()].map((root) => ({
      root,
      bytes: bytes.get(root)!,
      first: first.get(root)!,
      last: last.get(root)!,
    })),
  );

  const delta = new Float64Array(lowering.launches.length + 2);
  for (const root of first.keys()) {
    delta[first.get(root)!] += bytes.get(root)!;
    delta[last.get(root)! + 1] -= bytes.get(root)!;
  }
  let live = 0;
  let liveBytes = 0;
  for (const d of delta) liveBytes = Math.max(liveBytes, (live += d));
  return { placement, slotOf, slotBytes: slots.map((s) => s.bytes), liveBytes };
}

interface Life {
  readonly root: Tensor;
  readonly bytes: number;
  readonly first: number;
  readonly last: number;
}

interface Slots {
  readonly slots: readonly { readonly bytes: number }[];
  readonly slotOf: Map<Tensor, number>;
}

/** Greedy by size, the largest tensor first; of some ways to do that, the one that happens to need the least. */
function fewestBytes(lives: readonly Life[]): Slots {
  const earliest = lives.toSorted((a, b) => b.bytes - a.bytes || a.first - b.first);
  const longest = lives.toSorted((a, b) => b.bytes - a.bytes || b.last - b.first - (a.last - a.first));
  const total = ({ slots }: Slots) => slots.reduce((sum, s) => sum + s.bytes, 0);
  return [earliest, longest]
    .flatMap((order) => [pack(order, true), pack(order, false)])
    .reduce((best, way) => (total(way) < total(best) ? way : best));
}

/** Each into a slot that is free for its whole life: the smallest such slot, or the first one that was made. */
function pack(order: readonly Life[], smallest: boolean): Slots {
  const slots: { bytes: number; lives: Life[] }[] = [];
  const slotOf = new Map<Tensor, number>();
  for (const life of order) {
    const free = (s: { lives: Life[] }) => s.lives.every((l) => l.last < life.first || l.first > life.last);
    let best = -1;
    slots.forEach((s, i) => {
      if (free(s) && (best < 0 || (smallest && s.bytes < slots[best].bytes))) best = i;
    });
    if (best < 0) best = slots.push({ bytes: life.bytes, lives: [] }) - 1;
    slots[best].lives.push(life);
    slotOf.set(life.root, best);
  }
  return { slots, slotOf };
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
