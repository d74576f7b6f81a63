/** The PK sampler of Sec. 3.4: a batch holds S subjects with A images each. */
import { UserError } from "../errors.js";
import { draw, integer, Stream, seededRng } from "../random.js";

export interface PkSamplerOptions {
  /** S: subjects (people) in a batch, drawn without replacement. */
  subjects: number;
  /** A: images of each. */
  images: number;
  seed: number;
}

/** All that the following batches depend on; plain JSON. */
export interface PkSamplerState extends PkSamplerOptions {
  /** Batches drawn so far. */
  batches: number;
  /** How often each label was drawn so far; with the seed it gives the place in the person's shuffled list. */
  draws: number[];
  /** Images of each label, to recognise the training set. */
  sizes: number[];
}

/**
 * Draws batches of S x A training images, the images of one person side by side. Each person's images are shuffled and
 * used up in turn, A at a time; when fewer than A are left, all are shuffled anew. People with fewer than A images are
 * drawn with replacement. Batch n depends on the seed and on the batches before it, and on nothing else.
 */
export class PkSampler {
  readonly subjects: number;
  readonly images: number;
  readonly seed: number;
  /** Indices of each label's images. */
  readonly #imagesOf: number[][];
  readonly #labels: ArrayLike<number>;
  readonly #draws: number[];
  #batches = 0;

  /**
   * @param labels label of each training image, from 0 without gaps; images with label -1 are never drawn
   * @throws UserError when there are fewer people than S
   */
  constructor(labels: ArrayLike<number>, { subjects, images, seed }: PkSamplerOptions) {
    this.subjects = subjects;
    this.images = images;
    this.seed = seed;
    this.#labels = labels;
    this.#imagesOf = [];
    for (let i = 0; i < labels.length; i++) {
      if (labels[i] >= 0) (this.#imagesOf[labels[i]] ??= []).push(i);
    }
    this.#draws = this.#imagesOf.map(() => 0);
    if (this.#imagesOf.length < subjects) {
      throw new UserError(
        `A batch takes ${subjects} people (S), but the training set has ${this.#imagesOf.length}. ` +
          "Lower the number of subjects a batch or add people.",
      );
    }
  }

  /**
   * A sampler that goes on where `getState` was called: the same batches, bit for bit.
   *
   * @throws UserError when the state belongs to another training set
   */
  static fromState(labels: ArrayLike<number>, state: PkSamplerState): PkSampler {
    const sampler = new PkSampler(labels, state);
    const sizes = sampler.#imagesOf.map((images) => images.length);
    if (sizes.length !== state.sizes.length || sizes.some((size, label) => size !== state.sizes[label])) {
      const count = (list: readonly number[]) =>
        `${list.length} people with ${list.reduce((sum, size) => sum + size, 0)} images`;
      throw new UserError(
        `The sampler's state belongs to another training set: it knows ${count(state.sizes)}, ` +
          `here are ${count(sizes)}, or they are spread otherwise. Resume with the dataset of the first run.`,
      );
    }
    sampler.#batches = state.batches;
    for (const [label, times] of state.draws.entries()) sampler.#draws[label] = times;
    return sampler;
  }

  getState(): PkSamplerState {
    const { subjects, images, seed } = this;
    const sizes = this.#imagesOf.map((list) => list.length);
    return { subjects, images, seed, batches: this.#batches, draws: [...this.#draws], sizes };
  }

  /** Batches drawn so far, which is also the number of the next one. */
  get batches(): number {
    return this.#batches;
  }

  /** Indices of the next batch's images: S groups of A. */
  next(): number[] {
    const rng = seededRng(this.seed, Stream.subjects, this.#batches++);
    return draw(rng, [...this.#imagesOf.keys()], this.subjects).flatMap((label) => this.#drawImages(label));
  }

  #drawImages(label: number): number[] {
    const all = this.#imagesOf[label];
    const times = this.#draws[label]++;
    if (all.length < this.images) {
      const rng = seededRng(this.seed, Stream.images, label, times);
      return Array.from({ length: this.images }, () => all[integer(rng, 0, all.length - 1)]);
    }
    const perShuffle = Math.floor(all.length / this.images);
    const shuffled = draw(seededRng(this.seed, Stream.images, label, Math.floor(times / perShuffle)), all);
    const cursor = (times % perShuffle) * this.images;
    return shuffled.slice(cursor, cursor + this.images);
  }

  /** The image itself and then the person's other images in a fixed order: what may stand in for it. */
  standIns(image: number): number[] {
    const all = this.#imagesOf[this.#labels[image]];
    const place = all.indexOf(image);
    return [...all.slice(place), ...all.slice(0, place)];
  }
}
