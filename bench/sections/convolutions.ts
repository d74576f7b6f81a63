/** Each convolution shape of ResNet-50, forward and both gradients, against the peak. */
import { milliseconds } from "#src/cli/bench/timing.js";
import { percent } from "#src/text.js";
import { KINDS, type Kind, summaryOf, sweep } from "../conv-shapes.js";
import type { Context } from "../options.js";
import type { SectionReport } from "../report.js";

const TITLES: Readonly<Record<Kind, string>> = { y: "forward", dx: "input gradient", dw: "weight gradient" };

export async function convolutions({
  convolutionBatch: batch,
  rounds,
  software,
  open,
  say,
}: Context): Promise<SectionReport> {
  const device = await open();
  try {
    say(`batch ${batch}: compiling`);
    const { peakGflops, clockGflops, figures } = await sweep(device, {
      batch,
      runs: rounds,
      onRound: (round) => say(round === 0 ? "first run" : `round ${round} of ${rounds}`),
    });
    const summaries = KINDS.map((kind) => ({
      ...summaryOf(figures, kind),
      best: summaryOf(figures, kind, "bestShare"),
      clock: summaryOf(figures, kind, "clockShare"),
    }));
    // Elsewhere both are the adapter's own timestamps.
    const byClock = software ? ["median by the clock", "least by the clock", "ms for all by the clock"] : [];
    const names = [...new Set(figures.map(({ name }) => name))];
    return {
      title: `ResNet-50's convolutions at 384x128, batch ${batch}`,
      notes: [
        `Shares of ${peakGflops.toFixed(1)} GFLOP a second${software ? " of CPU time" : ""}, measured the same way in turn with the shapes; times are the medians of ${rounds} runs${software ? ", in CPU time of all threads" : ""}. Gradients include every transposition; operations are those of the direct convolution, of which Winograd needs fewer.${software ? ` By the clock: shares of ${clockGflops.toFixed(1)} GFLOP a second of the clock's time.` : ""}`,
      ],
      tables: [
        {
          title: "shares of the peak",
          rows: [
            [
              "",
              "median of shapes",
              "least of shapes",
              "median, best runs",
              "least, best runs",
              "ms for all",
              ...byClock,
            ],
            ...summaries.map(({ kind, median, least, best, ms, clock }) => [
              TITLES[kind],
              ...[median, least, best.median, best.least].map((share) => percent(share)),
              milliseconds(ms),
              ...(software ? [percent(clock.median), percent(clock.least), milliseconds(clock.ms)] : []),
            ]),
          ],
        },
        {
          rows: [
            ["", ...KINDS.flatMap((kind) => [`${TITLES[kind]} ms`, "of peak"])],
            ...names.map((name) => [
              name,
              ...KINDS.flatMap((kind) => {
                const f = figures.find((f) => f.name === name && f.kind === kind);
                return f ? [milliseconds(f.medianMs), percent(f.share)] : ["-", "-"];
              }),
            ]),
          ],
        },
      ],
      data: { batch, rounds, peakGflops, clockGflops, cpuTime: software, summaries, figures },
    };
  } finally {
    device.close();
  }
}
