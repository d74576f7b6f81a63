import { type Command, Option } from "commander";
import { UserError } from "../errors.js";
import type { SafetensorsFile } from "../formats/safetensors.js";
import type { Device } from "../gpu/device.js";
import { PRECISIONS, type Precision } from "../graph/storage.js";
import { Stream, seededRng, uniform } from "../random.js";
import { matrixUnitsOption } from "./network-options.js";
import { run, type Shell } from "./shell.js";

interface VerifyOptions {
  precision: Precision;
  matrixUnits?: boolean;
}

interface FixtureResult {
  file: string;
  kind: string;
  pass: boolean;
  /** Relative error of each group; for exact kinds the share of wrong values. */
  errors: Record<string, number>;
  /** Why it could not be checked. */
  error?: string;
  /** What the failure may be, where its errors are those of a fault or of a border. */
  note?: string;
  /** Errors of the runs with moved images that the note speaks of. */
  moved?: readonly Errors[];
}

/** Runs with moved images. */
const MOVED_RUNS = 8;

/** What is computed in the forward pass of the first step, before any border can matter. */
const FORWARD = ["features", "map", "main", "aux", "running"];

type Errors = Readonly<Record<string, number>>;

/**
 * Rounding can put a value that lies next to a ReLU's zero, a maximum's tie or a hinge on its other side. That shows in what
 * flows backwards, and in later steps; so does a wrong gradient. A gradient that is wrong is wrong for neighbouring images
 * too, while a value next to a border changes sides with them.
 * @param moved errors of the same fixture in runs whose images were moved by one float32, at least one run
 * @param within whether a group's error is within its bound
 */
export function borderNote(moved: readonly Errors[], within: (group: string, error: number) => boolean): string {
  const agree = moved.filter((errors) => Object.entries(errors).every(([group, error]) => within(group, error)));
  const group = "update" in moved[0] ? "update" : "gradients";
  const [least, largest] = [Math.min, Math.max].map((of) =>
    of(...moved.map((errors) => errors[group])).toExponential(1),
  );
  const seen = `Of ${moved.length} runs whose images were moved by one float32, ${agree.length} agree in every group (${group} ${least} to ${largest}).`;
  return agree.length > 0
    ? `${seen} So a value lies so near a ReLU's zero or a maximum's tie that float32 cannot tell its side: no fault shows, but this case cannot pass reliably. Draw it with other seeds.`
    : `${seen} The forward pass agrees and what flows backwards does not: a gradient is wrong, or rounding decides the side of several values. Draw the case with other seeds: a wrong gradient fails again.`;
}

/** `mpn verify`: fixtures against this adapter. */
export function register(program: Command): void {
  program
    .command("verify")
    .description("check this adapter against fixtures: relative error of every group, exit code 1 beyond the bounds")
    .argument("<fixtures...>", "safetensors files of kind mpn, prior or metrics")
    .addOption(
      new Option("--precision <name>", "how maps are stored; float16 has bounds of its own")
        .choices(PRECISIONS)
        .default("float32"),
    )
    .addOption(matrixUnitsOption())
    .action(
      run(async (shell, files: string[], { precision, matrixUnits }: VerifyOptions) => {
        const { readSafetensors } = await import("../formats/safetensors.js");
        const { openTuned } = await import("../tuning/open.js");
        const read = await Promise.all(files.map(async (file) => ({ file, content: await readSafetensors(file) })));
        // Fixtures decide whether a kernel is right, so they run with the driver's index clamps.
        const device = await openTuned(shell, { robust: true, matrixUnits });
        try {
          const fixtures: FixtureResult[] = [];
          for (const { file, content } of read) {
            try {
              fixtures.push(await check(shell, device, file, content, precision));
            } catch (error) {
              // One fixture that cannot be run says so and fails; the others are still checked.
              if (!(error instanceof UserError)) throw error;
              shell.print(`FAIL  ${file}  ${error.message}`);
              fixtures.push({ file, kind: content.metadata.kind ?? "", pass: false, errors: {}, error: error.message });
            }
          }
          const failed = fixtures.filter((f) => !f.pass).length;
          shell.print(
            `${fixtures.length - failed} of ${fixtures.length} fixtures pass on ${device.profile.name}${precision === "float16" ? ", maps in float16" : ""}`,
          );
          if (failed > 0) process.exitCode = 1;
          return { precision, fixtures };
        } finally {
          device.close();
        }
      }),
    );
}

async function check(
  shell: Shell,
  device: Device,
  file: string,
  content: SafetensorsFile,
  precision: Precision,
): Promise<FixtureResult> {
  const kind = content.metadata.kind ?? "";
  const { errors, bounds, again } = await errorsOf(device, file, kind, content, precision);
  const within = (group: string, error: number) => error <= bounds(group);
  const failing = Object.keys(errors).filter((group) => !within(group, errors[group]));
  const pass = failing.length === 0;
  const listed = Object.entries(errors).map(
    ([group, error]) => `${group} ${error.toExponential(1)}${failing.includes(group) ? " (!)" : ""}`,
  );
  shell.print(`${pass ? "pass" : "FAIL"}  ${file}  ${listed.join("  ")}`);
  const result = { file, kind, pass, errors };
  if (pass || !again || failing.some((group) => FORWARD.includes(group))) return result;
  const moved: Errors[] = [];
  for (let run = 0; run < MOVED_RUNS; run++) moved.push(await again(run));
  const note = borderNote(moved, within);
  shell.print(`      ${note}`);
  return { ...result, note, moved };
}

async function errorsOf(device: Device, file: string, kind: string, content: SafetensorsFile, precision: Precision) {
  if (kind === "mpn") {
    const { HALF_BOUNDS, MODEL_BOUNDS, verifyModel } = await import("../training/verify-model.js");
    const { halves } = await import("../training/loss-scale.js");
    const rounded = halves(device.profile, precision);
    const bounds = rounded ? HALF_BOUNDS : MODEL_BOUNDS;
    return {
      errors: await verifyModel(device, content, file, { precision, rounded }),
      bounds: (group: string) => bounds[group],
      // Halves have bounds that allow for borders.
      again: rounded
        ? undefined
        : (run: number) => verifyModel(device, moveImages(content, run), file, { precision, rounded }),
    };
  }
  const { verifyMetrics, verifyPrior } = await import("./verify-exact.js");
  if (kind === "prior") return { errors: verifyPrior(content, file), bounds: () => 0, again: undefined };
  if (kind === "metrics")
    return {
      errors: await verifyMetrics(content, file),
      bounds: (group: string) => (group === "counts" ? 0 : 1e-5),
      again: undefined,
    };
  throw new UserError(
    `${file} is no fixture: its metadata says kind ${JSON.stringify(kind)}; expected mpn, prior or metrics.`,
  );
}

/** The fixture with every image value one float32 up or down, or where it was. */
function moveImages(content: SafetensorsFile, run: number): SafetensorsFile {
  const images = content.tensors.get("input.images")!;
  const rng = seededRng(run, Stream.images);
  const data = Float32Array.from(images.data as Float32Array, (v) => v * (1 + uniform(rng, -(2 ** -23), 2 ** -23)));
  return { ...content, tensors: new Map(content.tensors).set("input.images", { ...images, data } as typeof images) };
}
