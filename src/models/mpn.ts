/**
 * MPN: the Multi-task Part-aware Network, and by configuration every variant of Tables 1 to 3 (Sec. 3).
 * The K parts run side by side: one engine tensor holds all parts' weights of a kind, and features are [N, K * partDim].
 */
import { scope, type Tensor } from "../graph/tensor.js";
import type { Build } from "../nn/layers.js";
import { resnet } from "../nn/resnet.js";
import {
  add,
  batchHardTriplet,
  classAlignment,
  cosineDistance,
  cropResize,
  globalMaxPool,
  maskMultiply,
  mean,
  mul,
  reshape,
  sigmoid,
  sumSquaredDifference,
  weightedSum,
} from "../ops/index.js";
import type { ModelConfig } from "./config.js";
import type { Classifier, ReidModel, TrainingBatch, TrainingOutputs } from "./model.js";
import { classify, identityLoss, partNames as namesOf, partClassifiers } from "./parts.js";

type Task = "main" | "aux";

/** The backbone's output F [N, H / 16, W / 16, 32 * width]. */
export function featureMap(b: Build, c: ModelConfig, images: Tensor): Tensor {
  return resnet(b, "backbone", images, c);
}

/** The representation of an image at test time: h of eq. 2 (the Baseline's comes from its ATs), [N, parts * partDim]. */
function represent(b: Build, c: ModelConfig, images: Tensor): Tensor {
  return partFeatures(b, c, featureMap(b, c, images), c.tasks === "aux" ? "aux" : "main");
}

/** id, triplet, alignment, softShare and total of eq. 10; what a variant does not have is absent. */
function losses(b: Build, c: ModelConfig, batch: TrainingBatch): TrainingOutputs {
  const f = featureMap(b, c, batch.images);
  // The order is the reference's: a shared batch norm moves its running statistics by MT's batch, then by AT's.
  const main = c.tasks === "aux" ? null : partFeatures(b, c, f, "main");
  const aux = c.tasks === "main" ? null : partFeatures(b, c, partInput(c, f, batch), "aux");

  const identity = (features: Tensor | null, task: Task) =>
    features ? [identityLoss(scoresOf(b, c, features, task), batch.partLabels)] : [];
  const tasks = [...identity(main, "main"), ...identity(aux, "aux")];
  // Every part's cross entropy is a mean over images; eq. 1 sums over parts and tasks.
  const id = weightedSum(
    tasks,
    tasks.map(() => c.parts),
  );
  const terms: [Tensor, number][] = [[id, 1]];

  const h = main ?? aux!;
  const both = main !== null && aux !== null;
  let triplet: Tensor | undefined;
  if (c.triplet) {
    const judged = both && c.alignment === "sample-sum" ? add(main, aux) : h;
    triplet = scope("triplet", () => weightedSum([batchHardTriplet(judged, batch.labels, c.margin)], [c.tripletScale]));
    terms.push([triplet, 1]);
  }
  const alignment = both ? scope("alignment", () => alignmentLoss(c, main, aux, batch.labels)) : null;
  if (alignment) terms.push([alignment, c.alignmentWeight]);
  const softShare = c.softShare === "none" ? null : softSharing(b, c, f, c.softShare);
  if (softShare) terms.push([softShare, c.softShareWeight]);

  const total = weightedSum(
    terms.map(([t]) => t),
    terms.map(([, weight]) => weight),
  );
  return {
    losses: {
      id,
      ...(triplet && { triplet }),
      ...(alignment && { alignment }),
      ...(softShare && { softShare }),
      total,
    },
    features: { ...(main && { main }), ...(aux && { aux }) },
  };
}

const partNames = (c: ModelConfig, layer: string) => namesOf(c.parts, layer);

/** F as the ATs see it (Sec. 3.3, Fig. 5b): masked, cropped to the region of interest and resized. */
function partInput(c: ModelConfig, f: Tensor, batch: Pick<TrainingBatch, "mask" | "roi">): Tensor {
  const prior = c.tasks === "aux" ? "uniform" : c.prior;
  if (prior === "uniform") return f;
  const [, h, w] = f.shape;
  return scope("prior", () => {
    const masked = prior === "mask" ? maskMultiply(f, batch.mask) : f;
    return cropResize(masked, batch.roi, { height: h, width: w });
  });
}

/**
 * Features of all K parts for one task (Sec. 3.3, Fig. 3): 1x1 convolution, global max pooling, channel attention, 1x1
 * convolution, each convolution with batch norm and ReLU. MT's parts see the whole map, AT's part k sees stripe k.
 */
function partFeatures(b: Build, c: ModelConfig, map: Tensor, task: Task): Tensor {
  const own = (shared: boolean) => (task === "aux" && c.tasks === "main+aux" && !shared ? "aux_" : "");
  const first = own(c.shareConv1);
  let x = b.partsConv(partNames(c, `${first}conv1`), map, c.partDim, task === "aux" ? "rows" : "all");
  // Layers of AT's own have statistics of their own.
  const moves = (prefix: string) => task === "main" || c.tasks !== "main+aux" || c.sharedStatistics || prefix !== "";
  x = b.batchNorm(partNames(c, `${first}bn1`), x, { relu: true, moves: moves(first) });
  const pooled = scope(`parts.${task}`, () => globalMaxPool(x));
  let v = reshape(pooled, [pooled.shape[0], 1, 1, pooled.shape[1]]);
  if (c.channelAttention) v = channelAttention(b, c, v, moves(""));
  const second = own(c.shareConv2);
  v = b.partsConv(partNames(c, `${second}conv2`), v, c.partDim, "channels");
  v = b.batchNorm(partNames(c, `${second}bn2`), v, { relu: true, moves: moves(second) });
  return reshape(v, pooled.shape);
}

/** Channel attention (Fig. 6): v * sigmoid(BN(conv(ReLU(BN(conv(v)))))), one module per part, shared by MT and AT. */
function channelAttention(b: Build, c: ModelConfig, v: Tensor, moves: boolean): Tensor {
  const squeezed = Math.floor(c.partDim / c.attentionReduction);
  let gate = b.partsConv(partNames(c, "attention.conv1"), v, squeezed, "channels");
  gate = b.batchNorm(partNames(c, "attention.bn1"), gate, { relu: true, moves });
  gate = b.partsConv(partNames(c, "attention.conv2"), gate, c.partDim, "channels");
  gate = b.batchNorm(partNames(c, "attention.bn2"), gate, { moves });
  return mul(v, sigmoid(gate));
}

/**
 * What an image's MTs and ATs say of it at test time: h, and g of the ATs, the image divided by its own prior. Only to find out
 * what division by a prior is worth (bench/aligned.ts); the paper's network has no prior at test time.
 * @returns h and g, [N, parts * partDim] each; null for tasks that the network lacks
 */
export function taskFeatures(b: Build, c: ModelConfig, images: Tensor, batch: Pick<TrainingBatch, "mask" | "roi">) {
  const f = featureMap(b, c, images);
  const divided = partInput({ ...c, tasks: "main+aux", prior: "mask" }, f, batch);
  return {
    h: c.tasks === "aux" ? null : partFeatures(b, c, f, "main"),
    g: c.tasks === "main" ? null : partFeatures(b, c, divided, "aux"),
  };
}

/** Scores of all parts' classifiers, part after part: [N, parts * identities]. */
function scoresOf(b: Build, c: ModelConfig, features: Tensor, task: Task): Tensor {
  return classify(b, partNames(c, `${task}_classifier`), features, c.identities);
}

function classifiers(b: Build, c: ModelConfig, images: Tensor): Classifier[] {
  const map = featureMap(b, c, images);
  const task = c.tasks === "aux" ? "aux" : "main";
  const scores = scoresOf(b, c, partFeatures(b, c, map, task), task);
  return partClassifiers(
    scores,
    Array.from({ length: c.parts }, (_, k) => ({ name: `part ${k + 1}`, map })),
  );
}

/** Feature space alignment of MT's h and AT's g (Sec. 3.5, 5.3.3); "sample-sum" acts on the triplet loss instead. */
function alignmentLoss(c: ModelConfig, h: Tensor, g: Tensor, labels: Tensor): Tensor | null {
  switch (c.alignment) {
    case "class":
      return classAlignment(h, g, labels);
    case "sample":
      return mean(cosineDistance(h, g), [0]);
    case "batch":
      return cosineDistance(mean(h, [0], { keepDims: true }), mean(g, [0], { keepDims: true }));
    default:
      return null;
  }
}

/** Soft sharing (Sec. 5.3.2): the squared distance between MT's and AT's own layer, weights and biases, summed over parts. */
function softSharing(b: Build, c: ModelConfig, f: Tensor, layer: "conv1" | "conv2"): Tensor {
  const channels = layer === "conv1" ? f.shape[3] : c.partDim;
  const main = b.partsParameters(partNames(c, layer), channels, c.partDim);
  const aux = b.partsParameters(partNames(c, `aux_${layer}`), channels, c.partDim);
  return scope("softShare", () => {
    const distances = main.map((t, i) => sumSquaredDifference(t, aux[i]));
    return weightedSum(distances, [1, 1]);
  });
}

export const mpn: ReidModel = {
  title: "MPN",
  classifiersPerImage: (c) => c.parts,
  usesPrior: (c) => c.tasks === "main+aux" && c.prior !== "uniform",
  represent,
  losses,
  classifiers,
};
