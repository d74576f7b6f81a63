import type { Command } from "commander";
import { UserError } from "../errors.js";
import { addDatasetOptions, DATASET_HELP, type DatasetOptions, openDataset } from "./dataset-options.js";
import { type MapOptions, mapSettings, withMapOptions } from "./map-options.js";
import { matrixUnitsOption, matrixUnitsSettings } from "./network-options.js";
import { PERTURB_OPTION, perturbSettings } from "./perturb-option.js";
import { collect, run, type Shell, wholeNumber } from "./shell.js";

interface AblateOptions extends DatasetOptions, MapOptions {
  data?: string;
  tables?: string;
  variants?: string;
  list?: boolean;
  seeds: number;
  out: string;
  preset?: string;
  config?: string;
  perturb?: number | true;
  matrixUnits?: boolean;
  set: string[];
  init?: string;
  retryFailed?: boolean;
}

/** `mpn ablate`: trains the variants of the paper's tables with equal budgets and several seeds, and writes the tables. */
export function register(program: Command): void {
  const command = withMapOptions(program.command("ablate"))
    .description("train the variants of the paper's tables, several seeds each, and write the tables")
    .option("--data <dataset>", `training, query and gallery images: ${DATASET_HELP}`)
    .option("--tables <ids>", "which of 1 to 7 (Tables 1 to 7) and 9 (Fig. 9); by default all")
    .option("--variants <names>", "only these rows, such as baseline,mt-only,mpn")
    .option("--list", "name the variants with their settings, and do nothing else")
    .option("--seeds <n>", "runs of each variant; their seeds count up from the configuration's", wholeNumber(1), 3)
    .option("--out <folder>", "folder of runs and tables; what is finished there is not done again", "runs/ablation")
    .option("--preset <name>", "paper (ResNet-50 at 384x128), small (for CPUs) or official (as the published code)")
    .option("--config <file>", "YAML file of settings, over the preset")
    .option(...PERTURB_OPTION)
    .addOption(matrixUnitsOption())
    .option("--set <key=value>", "one setting of all runs, over all others; repeatable", collect, [])
    .option("--init <checkpoint>", "start every run from the weights of this checkpoint")
    .option("--retry-failed", "do runs whose loss was not finite once more, from their start")
    .action(
      run(async (shell, options: AblateOptions) => {
        const { TABLES, VARIANT_KEYS, VARIANTS, variantOf } = await import("../training/variants.js");
        const names = (text: string) => text.split(",").map((name) => name.trim());
        const only = options.variants === undefined ? null : names(options.variants).map((n) => variantOf(n).name);
        const ids = options.tables === undefined ? TABLES.map(({ id }) => id) : names(options.tables);
        const unknown = ids.find((id) => !TABLES.some((table) => table.id === id));
        if (unknown !== undefined) {
          throw new UserError(
            `--tables: there is no table "${unknown}"; use ${TABLES.map(({ id }) => id).join(", ")}.`,
            {
              exitCode: 2,
            },
          );
        }
        const tables = TABLES.filter(({ id }) => ids.includes(id))
          .map((table) => ({ ...table, rows: table.rows.filter(({ variant }) => only?.includes(variant) ?? true) }))
          .filter(({ rows }) => rows.length > 0);
        const asked = [...VARIANTS.keys()].filter((name) =>
          tables.some(({ rows }) => rows.some(({ variant }) => variant === name)),
        );
        const missing = only?.find((name) => !asked.includes(name));
        if (missing !== undefined) {
          throw new UserError(`--variants: "${missing}" is in none of the tables asked for (${ids.join(", ")}).`, {
            exitCode: 2,
          });
        }
        if (options.list) return list(shell, asked.map(variantOf), tables);

        const { data, preset, config: file, seeds, out, init, retryFailed } = options;
        if (data === undefined) throw new UserError("Name the dataset with --data.", { exitCode: 2 });
        const keyOf = (setting: string) => setting.split("=")[0].trim();
        const decided = options.set.map(keyOf).find((key) => (VARIANT_KEYS as string[]).includes(key));
        if (decided !== undefined) {
          throw new UserError(`--set ${decided}: the variants differ in it, so it cannot be set for all of them.`, {
            exitCode: 2,
          });
        }
        const { loadConfig, readSettings } = await import("../training/load-config.js");
        const overruled = Object.keys(file === undefined ? {} : readSettings(file)).filter((key) =>
          (VARIANT_KEYS as string[]).includes(key),
        );
        if (overruled.length > 0) shell.note(`${file}: each variant decides ${overruled.join(", ")} for itself.`);
        const { openDevice } = await import("./common.js");
        const { ablationRun } = await import("./ablate-run.js");
        const set = [mapSettings(options), perturbSettings(options), matrixUnitsSettings(options), options.set].flat();
        const configOf = (variant: string) => loadConfig({ preset, file, variant, set });
        const configs = new Map(asked.map((name) => [name, { ...configOf(name), evaluateEvery: 0 }]));
        const { layout, trainVal, distractors } = options;
        const dataset = await openDataset(shell, data, ["train", "query", "gallery"], {
          layout,
          trainVal,
          distractors,
        });
        const [{ matrixUnits }] = configs.values();
        const device = await openDevice(shell, { matrixUnits });
        try {
          return await ablationRun(shell, { device, dataset, configs, tables, seeds, folder: out, init, retryFailed });
        } finally {
          device.close();
        }
      }),
    );
  addDatasetOptions(command, ["train", "gallery"]);
}

type Variants = typeof import("../training/variants.js");

function list(shell: Shell, variants: ReturnType<Variants["variantOf"]>[], tables: Variants["TABLES"]) {
  const entries = variants.map(({ name, title, settings }) => ({
    name,
    title,
    tables: tables.filter(({ rows }) => rows.some(({ variant }) => variant === name)).map(({ id }) => id),
    settings,
  }));
  const width = Math.max(...entries.map(({ name }) => name.length));
  for (const { name, title, tables: ids, settings } of entries) {
    shell.print(
      `${name.padEnd(width)}  ${title} (${ids.map((id) => (id === "9" ? "Fig. 9" : `Table ${id}`)).join(", ")})`,
    );
    const text = Object.entries(settings).map(([key, value]) => `${key}=${value}`);
    shell.print(`${"".padEnd(width)}  ${text.join(" ")}`);
  }
  return { variants: entries };
}
