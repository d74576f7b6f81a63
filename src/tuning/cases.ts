/** What there is to tune: the distinct convolutions of graphs, and the same with other numbers of pixels. Makes no GPU object. */
import type { Device, DeviceProfile, TunedChoice } from "../gpu/device.js";
import type { KernelSpec } from "../gpu/kernel.js";
import { Lowering } from "../graph/lowering.js";
import { type Precision, requireHalves, storeHalves } from "../graph/storage.js";
import { type Node, reachable, type Tensor } from "../graph/tensor.js";
import { type ConvProblem, type ConvWay, chooseConv, pixelsOf, tunedKey, WINOGRAD } from "../ops/conv-choice.js";
import { convMapSize, type MapSize, resizedConv } from "../ops/conv2d.js";

/** A convolution (or gradient) to be tuned by itself: a problem, and a node that has it. */
export interface TuningCase {
  readonly key: string;
  readonly problem: ConvProblem;
  readonly node: Node;
  /** Whether Winograd could take the node over; false where nobody asked. */
  readonly winograd: boolean;
  /** Choices under which alone the node has this problem: that of Winograd, whose product it is. */
  readonly within?: DeviceProfile["tuned"];
}

/**
 * The distinct problems of graphs, in the order in which they first appear.
 * @param precision how the graphs' maps are to be stored
 * @throws UserError where the adapter cannot store them so
 */
export function tuningCases(
  device: Device,
  outputs: readonly Tensor[],
  precision: Precision = "float32",
): TuningCase[] {
  const halves = precision === "float16";
  if (halves) requireHalves(device);
  const cases = new Map<string, TuningCase>();
  // What was tuned already poses its own problems in place of those that it solved.
  const profile = { ...device.profile, tuned: undefined };
  for (const found of casesOf(profile, reachable(halves ? storeHalves(outputs) : outputs, profile)))
    if (!cases.has(found.key)) {
      // Its product first: what is found for that is what Winograd has to show.
      const products = productsOf(profile, found);
      for (const product of products) if (!cases.has(product.key)) cases.set(product.key, product);
      cases.set(found.key, { ...found, winograd: products.length > 0 });
    }
  return [...cases.values()];
}

function casesOf(profile: DeviceProfile, nodes: readonly Node[], within?: DeviceProfile["tuned"]): TuningCase[] {
  return launchesOf(profile, nodes, within).flatMap(({ node, problem: posed }) => {
    const problem = posed as ConvProblem | undefined;
    if (!problem) return [];
    return [{ key: tunedKey(profile, problem), problem, node, winograd: false, within }];
  });
}

/** The cases that a node has in place of its own if Winograd takes it over; none where that cannot be or is usual, or units are faster. */
function productsOf(profile: DeviceProfile, { key, problem, node }: TuningCase): TuningCase[] {
  const within = { [key]: WINOGRAD };
  if (["matrix", "wide"].includes(chooseConv(profile, problem).kernel)) return [];
  const taken = launchesOf(profile, [node], within).some(({ kernel }) => kernel.shader.startsWith("winograd"));
  return taken ? casesOf(profile, [node], within).filter((c) => c.key !== key) : [];
}

/** What is launched where a choice makes the case's product. */
export const kernelsOf = (profile: DeviceProfile, { key, node, within }: TuningCase, choice: ConvWay): KernelSpec[] =>
  launchesOf(profile, [node], { ...within, [key]: choice }).map(({ kernel }) => kernel);

/** No kernel's choice: ops take what they would untuned, and no GPU's convolution Winograd, which is what others are compared with. */
const DIRECT: TunedChoice = { kernel: "direct", tile: {} };

function launchesOf(profile: DeviceProfile, nodes: readonly Node[], within: DeviceProfile["tuned"]) {
  const given = { ...profile.tuned, ...within };
  const tuned = profile.software
    ? given
    : new Proxy<Record<string, TunedChoice>>({}, { get: (_, key) => given[String(key)] ?? DIRECT });
  const lowering = new Lowering({ ...profile, tuned });
  lowering.lower(nodes);
  return lowering.launches;
}

/**
 * Cases of the same key at whose numbers of pixels tiles end ragged: one that is odd, and one that is an odd number of fours, as what
 * loads four pixels at once is not taken for others. Without those that the key has no room for, and those that the case is itself.
 */
export function raggedCases(profile: DeviceProfile, { key, problem, node, within }: TuningCase): TuningCase[] {
  const ragged = (pixels: number, unit: number) => pixels % (2 * unit) === unit;
  return [1, 4].flatMap((unit) => {
    if (ragged(pixelsOf(problem), unit)) return [];
    for (const size of sizesNear(convMapSize(node))) {
      const other = resizedConv(node, size);
      const found =
        other && casesOf(profile, [other], within).find((c) => c.key === key && ragged(pixelsOf(c.problem), unit));
      if (found) return [found];
    }
    return [];
  });
}

/**
 * Sizes of up to twice, and down to half of the pixels. Those of more pixels come first, the nearest before others: kernels ask for so
 * many pixels at least, so that what is taken for few is taken for more.
 */
function sizesNear([images, height, width]: MapSize): MapSize[] {
  const pixels = ([n, h, w]: MapSize) => n * h * w;
  const own = images * height * width;
  const around = (n: number, most: number) =>
    Array.from({ length: 2 * most + 1 }, (_, i) => n - most + i).filter((other) => other >= 1);
  return around(images, 1)
    .flatMap((n) => around(height, height + 1).flatMap((h) => around(width, 2).map((w): MapSize => [n, h, w])))
    .filter((size) => pixels(size) <= 2 * own && 2 * pixels(size) >= own)
    .sort(
      (a, b) =>
        Number(pixels(a) < own) - Number(pixels(b) < own) || Math.abs(pixels(a) - own) - Math.abs(pixels(b) - own),
    );
}
