/**
 * Repeatable random numbers. Every draw of a run comes from a generator made of the run's seed and of what it is drawn
 * for (which batch, which image), never from one long sequence: work done ahead of time, in another order or in another
 * process then draws the same numbers, and resuming needs no generator state.
 */
import { uniformFloat64 } from "pure-rand/distribution/uniformFloat64";
import { uniformInt } from "pure-rand/distribution/uniformInt";
import { xoroshiro128plusFromState } from "pure-rand/generator/xoroshiro128plus";
import type { RandomGenerator } from "pure-rand/types/RandomGenerator";

export type { RandomGenerator };

/** What a stream of random numbers is for; the first part of its key, so that no two uses share numbers. */
export const Stream = {
  subjects: 1,
  images: 2,
  augmentation: 3,
  dropout: 4,
  detector: 5,
  parameters: 100,
} as const;

/** The finaliser of splitmix32: every input bit reaches every output bit. */
function scramble(word: number): number {
  word = Math.imul(word ^ (word >>> 16), 0x21f0aaad);
  word = Math.imul(word ^ (word >>> 15), 0x735a2d97);
  return word ^ (word >>> 15);
}

/**
 * A generator (xoroshiro128+) for one purpose. Keys that differ anywhere give unrelated sequences, neighbouring seeds
 * included.
 *
 * @param seed of the run, a safe integer
 * @param key what the numbers are for, safe integers, such as `Stream.augmentation, batch, position`
 */
export function seededRng(seed: number, ...key: number[]): RandomGenerator {
  const words = [seed, ...key].flatMap((part) => [part | 0, Math.floor(part / 2 ** 32) | 0]);
  const state = [1, 2, 3, 4].map((lane) =>
    words.reduce((hash, word) => scramble(Math.imul(hash, 0x9e3779b1) + word), scramble(lane)),
  );
  return xoroshiro128plusFromState(state);
}

/** A name as part of a key, such as that of a tensor or a picture. */
export function nameKey(name: string): number {
  return Array.from(name).reduce((hash, character) => {
    return scramble(Math.imul(hash, 0x9e3779b1) + character.codePointAt(0)!);
  }, name.length);
}

/** Uniform in [low, high). */
export function uniform(rng: RandomGenerator, low: number, high: number): number {
  return low + (high - low) * uniformFloat64(rng);
}

/** Uniform integer from `low` to `high`, both included. */
export function integer(rng: RandomGenerator, low: number, high: number): number {
  return uniformInt(rng, low, high);
}

/** True with the given probability: never for 0, always for 1. */
export function chance(rng: RandomGenerator, probability: number): boolean {
  return uniformFloat64(rng) < probability;
}

/** `count` of the items in random order, without replacement (Fisher-Yates); all of them by default. */
export function draw<T>(rng: RandomGenerator, items: readonly T[], count: number = items.length): T[] {
  const rest = [...items];
  for (let i = 0; i < count; i++) {
    const j = uniformInt(rng, i, rest.length - 1);
    [rest[i], rest[j]] = [rest[j], rest[i]];
  }
  return rest.slice(0, count);
}
