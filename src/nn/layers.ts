/** Layers: ops with parameters. A `Build` is one walk through a model, in training or evaluation mode. */
import { scope, type Tensor } from "../graph/tensor.js";
import { batchNorm } from "../ops/batch-norm.js";
import { conv2d } from "../ops/conv2d.js";
import { constantValues, heFanOut, type Initializer, uniformFanIn } from "./init.js";
import type { ParameterStore } from "./parameters.js";

export interface BatchNormActivation {
  readonly relu?: boolean;
  readonly residual?: Tensor;
}

export interface BatchNormLayer extends BatchNormActivation {
  /** Whether this walk's batch moves the running statistics, in training; true by default. */
  readonly moves?: boolean;
  /** Initial values of the scale; 1 by default. */
  readonly gamma?: Initializer;
}

export interface PartsInit {
  /** torch's default where absent. */
  readonly weight?: Initializer;
  /** torch's default where absent; null: no bias. */
  readonly bias?: Initializer | null;
  /** Whether the weight on disk is a linear layer's [out, in] instead of [out, in, 1, 1]. */
  readonly linear?: boolean;
}

export class Build {
  /** Running statistics as moved so far: a layer that runs twice moves them twice, in order. */
  private readonly moved = new Map<Tensor, Tensor>();

  constructor(
    readonly store: ParameterStore,
    readonly training: boolean,
  ) {}

  /** What `Program.compile` must keep as updates: the final running statistics of this walk. */
  get updates(): Tensor[] {
    return [...this.moved.values()];
  }

  /** Batch norm named `name`, or one over the columns of several parts side by side. */
  batchNorm(
    names: string | readonly string[],
    x: Tensor,
    { moves = true, gamma: initialGamma = constantValues(1), ...activation }: BatchNormLayer = {},
  ): Tensor {
    const list = typeof names === "string" ? [names] : names;
    const channels = x.shape[x.shape.length - 1];
    const vector = (suffix: string, init: Initializer) => ({
      names: list.map((n) => `${n}.${suffix}`),
      shape: [channels],
      diskShape: [channels / list.length],
      init,
    });
    const gamma = this.store.parameter(vector("weight", initialGamma));
    const beta = this.store.parameter(vector("bias", constantValues(0)));
    const mean = this.store.statistic(vector("running_mean", constantValues(0)));
    const variance = this.store.statistic(vector("running_var", constantValues(1)));
    const now = (t: Tensor) => this.moved.get(t) ?? t;
    const v = { gamma, beta, runningMean: now(mean), runningVar: now(variance) };
    const options = { training: this.training, ...activation, ...(!moves && { momentum: 0 }) };
    const out = scope(list[0], () => batchNorm(x, v, options));
    if (this.training && moves) {
      this.moved.set(mean, out.runningMean);
      this.moved.set(variance, out.runningVar);
    }
    return out.y;
  }

  /**
   * Backbone convolution: no bias, "same" padding of k / 2, He initialisation unless told otherwise. Several names are
   * layers of `filters` each that read the same map, their outputs side by side.
   */
  conv(
    names: string | readonly string[],
    x: Tensor,
    filters: number,
    kernel: number,
    stride = 1,
    init: Initializer = heFanOut,
  ): Tensor {
    const list = typeof names === "string" ? [names] : names;
    const w = this.convWeight(list, x.shape[3], filters, kernel, init);
    return scope(list[0], () => conv2d(x, w, { stride, padding: Math.floor(kernel / 2) }));
  }

  /** The weights of `conv`: [kernel, kernel, channels, names * filters]. */
  convWeight(names: readonly string[], channels: number, filters: number, kernel: number, init: Initializer): Tensor {
    return this.store.parameter({
      names: names.map((n) => `${n}.weight`),
      shape: [kernel, kernel, channels, names.length * filters],
      diskShape: [filters, channels, kernel, kernel],
      init,
    });
  }

  /**
   * 1x1 convolution of several parts at once.
   * @param x [N, H, W, C]: `split` says what part k sees: everything ("all"), stripe k of the rows ("rows"), or its own
   * share of the channels ("channels")
   * @returns [N, H', W, parts * filters]
   */
  partsConv(
    names: readonly string[],
    x: Tensor,
    filters: number,
    split: "all" | "rows" | "channels",
    init?: PartsInit,
  ): Tensor {
    const channels = split === "channels" ? x.shape[3] / names.length : x.shape[3];
    const [w, bias] = this.partsParameters(names, channels, filters, init);
    const groups = split === "all" ? {} : { groups: names.length, split };
    return scope(names[0], () => conv2d(x, w, { ...groups, bias }));
  }

  /** Weight and bias (if any) of `partsConv`, side by side: [1, 1, channels, parts * filters] and [parts * filters]. */
  partsParameters(names: readonly string[], channels: number, filters: number, init?: PartsInit): Tensor[] {
    const weight = this.store.parameter({
      names: names.map((n) => `${n}.weight`),
      shape: [1, 1, channels, names.length * filters],
      diskShape: init?.linear ? [filters, channels] : [filters, channels, 1, 1],
      init: init?.weight ?? uniformFanIn(channels),
    });
    if (init?.bias === null) return [weight];
    const bias = this.store.parameter({
      names: names.map((n) => `${n}.bias`),
      shape: [names.length * filters],
      diskShape: [filters],
      init: init?.bias ?? uniformFanIn(channels),
    });
    return [weight, bias];
  }
}
