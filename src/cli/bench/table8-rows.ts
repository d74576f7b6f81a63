/** Table 8 as data and as tables of text: what was measured, the paper's figures and the ratios to PCB of both. */
import { type Measured, type PaperFigures, TABLE8 } from "./table8.js";
import { mebibytes, milliseconds, type Times } from "./timing.js";

/** Figures relative to those of PCB, which carry over between machines; null where either was not measured. */
export interface Ratios {
  readonly params: number | null;
  readonly gflop: number | null;
  readonly train: number | null;
  readonly test: number | null;
  readonly testGpuBytes: number | null;
  readonly trainGpuBytes: number | null;
}

export interface Row {
  readonly model: string;
  readonly title: string;
  /** Of the network at test time. */
  readonly params: number;
  readonly paramsWithStatistics: number;
  readonly gflopPerImage: number;
  readonly trainGflopPerImage: number | null;
  readonly trainMsPerImage: number | null;
  readonly testMsPerImage: number;
  /** Milliseconds an image: median, least and most. */
  readonly train: Times | null;
  readonly test: Times;
  /** Peak of a training step; of the test where there is no training. */
  readonly gpuBytes: number;
  readonly trainGpuBytes: number | null;
  readonly testGpuBytes: number;
  /** Why there are no figures of training. */
  readonly untrained?: string;
  readonly paper: PaperFigures;
  readonly toPcb: Ratios;
  /** The paper's ratios of time, and of parameters at test time. */
  readonly paperToPcb: Pick<Ratios, "params" | "train" | "test">;
}

export function table8Rows(measured: readonly Measured[], batch: number): Row[] {
  const perImage = ({ medianMs, minMs, maxMs }: Times): Times => ({
    medianMs: medianMs / batch,
    minMs: minMs / batch,
    maxMs: maxMs / batch,
  });
  const rows = measured.map(({ entry, parameters, withStatistics, test, train }) => ({
    model: entry.model,
    title: entry.title,
    params: parameters,
    paramsWithStatistics: withStatistics,
    gflopPerImage: test.flops / batch / 1e9,
    trainGflopPerImage: train && train.flops / batch / 1e9,
    trainMsPerImage: train && perImage(train.times).medianMs,
    testMsPerImage: perImage(test.times).medianMs,
    train: train && perImage(train.times),
    test: perImage(test.times),
    gpuBytes: (train ?? test).gpuBytes,
    trainGpuBytes: train?.gpuBytes ?? null,
    testGpuBytes: test.gpuBytes,
    ...(entry.untrained && { untrained: entry.untrained }),
    paper: entry.paper,
  }));
  const pcb = rows.find(({ model }) => model === "pcb");
  const paperPcb = TABLE8.find(({ model }) => model === "pcb")!.paper;
  const ratio = (of: number | null, to: number | null | undefined) => (of !== null && to ? of / to : null);
  return rows.map((row) => ({
    ...row,
    toPcb: {
      params: ratio(row.params, pcb?.params),
      gflop: ratio(row.gflopPerImage, pcb?.gflopPerImage),
      train: ratio(row.trainMsPerImage, pcb?.trainMsPerImage),
      test: ratio(row.testMsPerImage, pcb?.testMsPerImage),
      testGpuBytes: ratio(row.testGpuBytes, pcb?.testGpuBytes),
      trainGpuBytes: ratio(row.trainGpuBytes, pcb?.trainGpuBytes),
    },
    paperToPcb: {
      params: ratio(row.paper.testParamsM, paperPcb.testParamsM),
      train: ratio(row.paper.trainMs, paperPcb.trainMs),
      test: ratio(row.paper.testMs, paperPcb.testMs),
    },
  }));
}

export const COUNTED_NOTE = "* the count of parameters that rounds to the paper's";
const millions = (count: number, paperM: number) =>
  `${(count / 1e6).toFixed(2)} M${(count / 1e6).toFixed(1) === paperM.toFixed(1) ? " *" : ""}`;
const spread = (times: Times | null) =>
  times ? `${milliseconds(times.medianMs)} (${milliseconds(times.minMs)} to ${milliseconds(times.maxMs)})` : "-";
const times = (ratio: number | null) => (ratio === null ? "-" : `${ratio.toFixed(2)} x`);

/** Two tables, each with its head: size, work and memory; time. */
export function table8Text(rows: readonly Row[]): string[][][] {
  return [
    [
      [
        ...["", "parameters", "with BN statistics", "paper", "paper, training", "to PCB", "paper's"],
        ...["GFLOP/image", "to PCB", "training"],
        ...["memory, test", "to PCB", "memory, training", "to PCB"],
      ],
      ...rows.map((row) => [
        row.title,
        millions(row.params, row.paper.testParamsM),
        millions(row.paramsWithStatistics, row.paper.testParamsM),
        ...[row.paper.testParamsM, row.paper.trainParamsM].map((count) => `${count} M`),
        times(row.toPcb.params),
        times(row.paperToPcb.params),
        row.gflopPerImage.toPrecision(4),
        times(row.toPcb.gflop),
        row.trainGflopPerImage?.toPrecision(4) ?? "-",
        mebibytes(row.testGpuBytes),
        times(row.toPcb.testGpuBytes),
        row.trainGpuBytes === null ? "-" : mebibytes(row.trainGpuBytes),
        times(row.toPcb.trainGpuBytes),
      ]),
    ],
    [
      ["", "training ms/image", "Titan V", "to PCB", "paper's", "test ms/image", "Titan V", "to PCB", "paper's"],
      ...rows.map((row) => [
        row.title,
        spread(row.train),
        String(row.paper.trainMs),
        times(row.toPcb.train),
        times(row.paperToPcb.train),
        spread(row.test),
        String(row.paper.testMs),
        times(row.toPcb.test),
        times(row.paperToPcb.test),
      ]),
    ],
  ];
}
