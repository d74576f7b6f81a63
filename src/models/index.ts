/** Every model by the name that a configuration gives it. */
import type { ModelConfig } from "./config.js";
import { dsa } from "./dsa.js";
import { ide } from "./ide.js";
import { mgn } from "./mgn.js";
import type { ReidModel } from "./model.js";
import { mpn } from "./mpn.js";
import { pcb } from "./pcb.js";
import { pyramid } from "./pyramid.js";

const models: Readonly<Record<ModelConfig["model"], ReidModel>> = { mpn, ide, pcb, mgn, pyramid, dsa };

export function modelOf(config: Pick<ModelConfig, "model">): ReidModel {
  return models[config.model];
}
