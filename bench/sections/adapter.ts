/** What is measured on: adapter, machine, version, and the limits that shares are of. */
import { spawnSync } from "node:child_process";
import { availableParallelism, cpus } from "node:os";
import type { Context } from "../options.js";
import { type SectionReport, tunedNote } from "../report.js";

export async function adapter({ software, peak, tuned, open }: Context): Promise<SectionReport> {
  const device = await open();
  const { profile } = device;
  device.close();
  const { status, stdout } = spawnSync("git", ["describe", "--always", "--dirty"], { encoding: "utf8" });
  const data = {
    name: profile.name,
    description: profile.description,
    vendor: profile.vendor,
    architecture: profile.architecture,
    software,
    subgroupSize: profile.subgroupSize,
    features: profile.features,
    tuned,
    peakGflops: peak.gflops,
    copyGbps: peak.copyGbps,
    cpu: cpus()[0]?.model ?? "unknown",
    threads: availableParallelism(),
    node: process.version,
    platform: `${process.platform}-${process.arch}`,
    commit: status === 0 ? stdout.trim() : null,
    date: new Date().toISOString().slice(0, 10),
  };
  return {
    title: `${profile.name}, ${data.date}`,
    notes: [
      ...(software ? ["A software adapter: the CPU does the work, and these are not a GPU's figures."] : []),
      tunedNote(tuned),
    ],
    tables: [
      {
        rows: [
          ["", "value"],
          ["driver", profile.description || "not told"],
          ["multiply-adds, best of several runs and shaders", `${peak.gflops.toFixed(1)} GFLOP/s`],
          ["copy, read and written", `${peak.copyGbps.toFixed(1)} GB/s`],
          ["CPU", `${data.cpu}, ${data.threads} threads`],
          ["Node", `${data.node}, ${data.platform}`],
          ["commit", data.commit ?? "unknown"],
        ],
      },
    ],
    data,
  };
}
