/** Every operation, by its public name. */
export { add, addScaled, maskMultiply, mul, sub, sumSquaredDifference, weightedSum } from "./arithmetic.js";
export { type BatchNormOptions, type BatchNormVectors, batchNorm } from "./batch-norm.js";
export { classAlignment, classMeans, classWeights } from "./class-means.js";
export { type Conv2dOptions, conv2d } from "./conv2d.js";
export { cosineDistance, cosineDistanceMatrix, normalizeRows } from "./cosine.js";
export { cropResize } from "./crop-resize.js";
export { softmaxCrossEntropy, softmaxCrossEntropyRows } from "./cross-entropy.js";
export { dropout } from "./dropout.js";
export { addScalar, leakyRelu, relu, scale, sigmoid } from "./elementwise.js";
export { euclideanDistanceMatrix } from "./euclidean.js";
export { globalMaxPool } from "./global-max-pool.js";
export { gradients } from "./gradients.js";
export { concat, reshape, slice, split, transpose } from "./layout.js";
export { type LossScaling, lossScale } from "./loss-scale.js";
export { type MatmulOptions, matmul } from "./matmul.js";
export { type MaxPoolOptions, maxPool } from "./max-pool.js";
export {
  IMAGE_TABLE_COLUMNS,
  PIXEL_DEVIATION,
  PIXEL_MEAN,
  type PrepareImagesOptions,
  prepareImages,
} from "./prepare-images.js";
export { pyramidPool } from "./pyramid-pool.js";
export { broadcastTo, globalAveragePool, max, mean, type ReduceOptions, sum } from "./reduce.js";
export { pack, sgd } from "./sgd.js";
export { type TopKLists, topK } from "./top-k.js";
export { batchHardTriplet, type TripletOptions } from "./triplet.js";
