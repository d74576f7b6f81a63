/** Re-identification: data, models, training, retrieval and reports. The engine below is `mpn-webgpu/engine`. */

// Data
export {
  type Dataset,
  datasetTable,
  formatDatasetTable,
  LAYOUTS,
  type Layout,
  type LoadOptions,
  loadDataset,
  type Sample,
  type Subset,
  trainIdentities,
  unexcluded,
} from "./data/dataset.js";
export { DecodePool, type DecodePoolOptions } from "./data/decode-pool.js";
export { type DecodeOptions, decodeImage, ImageError, type RgbImage } from "./data/image.js";
export { decodeLabelMap, type LabelMap, readLabelMap } from "./data/label-map.js";
export { LABEL_SETS, type LabelSet } from "./data/label-sets.js";
export type { DetectorErrors } from "./data/perturb.js";
export { coarsePrior, type MovablePrior, type Prior, wholePrior } from "./data/prior.js";
export { buildPriors, loadPriors, type PriorSet, type PriorSettings } from "./data/prior-cache.js";
export { PkSampler, type PkSamplerOptions, type PkSamplerState } from "./data/sampler.js";
export { type SynthOptions, type SynthSummary, writeSyntheticDataset } from "./data/synth/dataset.js";
// The device and what holds a model's weights, which nearly everything here takes.
export { Device, type DeviceProfile, type OpenOptions, ParameterStore, UserError } from "./engine.js";
// Reports and files
export { type OnnxOptions, onnxModel } from "./export/onnx.js";
export { type OnnxModel, writeOnnx } from "./formats/onnx.js";
export { readSafetensors, type SafetensorsFile, type StoredTensor, writeSafetensors } from "./formats/safetensors.js";
export { readTorch } from "./formats/torch.js";
export { writeTorch } from "./formats/torch-write.js";
// Models
export { featureSize, type ModelConfig, parseModelConfig } from "./models/config.js";
export { modelOf } from "./models/index.js";
export type { Classifier, Losses, ReidModel, TrainingBatch, TrainingOutputs } from "./models/model.js";
export {
  type AblationData,
  type AblationRun,
  type AblationSummary,
  ablationMarkdown,
  summarizeAblation,
} from "./report/ablation.js";
export { renderAblationPage } from "./report/ablation-page.js";
export { type AttentionCell, type AttentionFigure, type AttentionRow, attentionPicture } from "./report/attention.js";
export { type AttentionPageData, renderAttentionPage } from "./report/attention-page.js";
export type { Evaluation, RankedListData, ReportData } from "./report/data.js";
export { rankedListPicture } from "./report/pictures.js";
export { renderReport, writeReport } from "./report/report.js";

// Retrieval
export { type DatasetEvaluation, evaluateDataset } from "./retrieval/evaluate.js";
export { Extractor, type ExtractorOptions } from "./retrieval/extractor.js";
export { gpuSimilarity } from "./retrieval/gpu-similarity.js";
export { type Attention, GradCam } from "./retrieval/gradcam.js";
export {
  evaluateRanking,
  evaluateRankings,
  type Labels,
  type RankingInput,
  type RankingResult,
} from "./retrieval/metrics.js";
export {
  evaluateMultiQuery,
  type MultiQueryEvaluation,
  type Pooling,
  pooledFeatures,
} from "./retrieval/multi-query.js";
export { boundBy, type Extraction, type Pace } from "./retrieval/pipeline.js";
export { bestMatches, type LabelledMatch, type Match, rankedList } from "./retrieval/ranked-list.js";
export { DEFAULT_RERANK, type RerankOptions, type RerankParameters, rerankedSimilarity } from "./retrieval/rerank.js";
export { cosineSimilarity, type Features, type SimilarityTiles } from "./retrieval/similarity.js";
// Training
export {
  type Checkpoint,
  type CheckpointState,
  type OpenCheckpoint,
  openCheckpoint,
  readCheckpoint,
  restore,
  writeCheckpoint,
} from "./training/checkpoint.js";
export { modelConfigOf, type TrainConfig } from "./training/config.js";
export { type ForeignWeights, officialName, readForeign } from "./training/foreign.js";
export { type ConfigSources, loadConfig, presets } from "./training/load-config.js";
export { type TrainingStep, trainingStep } from "./training/step.js";
export { type StepReport, Trainer, type TrainerOptions } from "./training/trainer.js";
export { PAPER_ORDER, type PaperTable, TABLES, VARIANTS, type Variant, variantOf } from "./training/variants.js";
