import type { Command } from "commander";
import type { Device } from "../gpu/device.js";
import { run } from "./shell.js";

/** The limits that decide what fits on an adapter. */
const LIMITS = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxStorageBuffersPerShaderStage",
  "maxUniformBufferBindingSize",
  "minStorageBufferOffsetAlignment",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupsPerDimension",
] as const;

interface CheckResult {
  name: string;
  pass: boolean;
  /** Relative error; absent where the check could not be run. */
  error?: number;
  /** Largest error that passes. */
  bound: number;
  /** Why it could not be run. */
  failure?: string;
}

/** `mpn doctor`: what the adapter is, and whether it computes what it should. */
export function register(program: Command): void {
  program
    .command("doctor")
    .description("show the adapter, its driver, limits and features, and check kernels against float64 references")
    .action(
      run(async (shell) => {
        const [{ Device: Gpu }, { selfChecks }] = await Promise.all([
          import("../gpu/device.js"),
          import("./doctor/checks.js"),
        ]);
        const device = await Gpu.open();
        try {
          const { name, vendor, architecture, description, software, features } = device.profile;
          const limits = Object.fromEntries(LIMITS.map((key) => [key, device.gpu.limits[key]]));
          shell.print(`adapter       ${name}`);
          shell.print(`vendor        ${[vendor, architecture].filter(Boolean).join(", ") || "not told"}`);
          shell.print(`driver        ${description || "not told"}`);
          shell.print(`software      ${software ? "YES: the CPU does the work of a GPU" : "no"}`);
          shell.print(`features      ${features.join(", ") || "none"}`);
          for (const [key, value] of Object.entries(limits)) shell.print(`  ${key.padEnd(34)}${value}`);
          if (software) {
            shell.warn(
              `${name} IS A SOFTWARE ADAPTER: the CPU does a GPU's work, many times slower. Where this machine has a GPU, install its Vulkan driver.`,
            );
          }
          const checks: CheckResult[] = [];
          for (const check of selfChecks) {
            const result = await attempt(device, check);
            checks.push(result);
            const told = result.failure ?? `relative error ${result.error?.toExponential(1)}`;
            shell.print(`${result.pass ? "pass" : "FAIL"}  ${check.name.padEnd(54)}${told}`);
          }
          const failed = checks.filter((c) => !c.pass).length;
          shell.print(
            failed === 0
              ? `all ${checks.length} checks pass`
              : `${failed} of ${checks.length} checks FAIL: do not trust results of this adapter and driver`,
          );
          if (failed > 0) process.exitCode = 1;
          return { adapter: name, vendor, architecture, driver: description, software, features, limits, checks };
        } finally {
          device.close();
        }
      }),
    );
}

/** A check that throws has failed, and must not keep the others from being run. */
async function attempt(
  device: Device,
  check: { name: string; bound: number; run(device: Device): Promise<number> },
): Promise<CheckResult> {
  const { name, bound } = check;
  try {
    const error = await check.run(device);
    return { name, pass: error <= bound, error, bound };
  } catch (error) {
    return { name, pass: false, bound, failure: error instanceof Error ? error.message : String(error) };
  }
}
