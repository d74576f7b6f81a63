/** Every model by the name that a configuration gives it. */
import type { ModelConfig } from "./config.js";
import type { ReidModel } from "./model.js";
import { mpn } from "./mpn.js";

const models: Readonly<Record<ModelConfig["model"], ReidModel>> = { mpn };

export function modelOf(config: ModelConfig): ReidModel {
  return models[config.model];
}
