// Prints as JSON the adapter that Dawn finds in this process's environment, or null. A process of its own, since a
// Vulkan loader and driver are chosen by the environment that a process starts with, and may crash it.
import { create } from "webgpu";

const gpu = create([]);
const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
const info = adapter?.info;
const name = info && (info.description || info.device || info.vendor || "unnamed adapter");
process.stdout.write(JSON.stringify(info ? { name, software: info.isFallbackAdapter } : null));
