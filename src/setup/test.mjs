// `npm test`: prepares everything, checks types and style, and runs the tests. `npm test -- ops/conv` runs the test files
// whose path has that in it, and nothing else.
import { root } from "./build.mjs";
import { prepare } from "./prepare.mjs";

const { env, name } = await prepare();
const { runTests } = await import("../../dist/setup/test-runner.js");
// A listener, so that a killed runner takes the running test file with it on its way out.
process.on("SIGINT", () => process.exit(130));
process.on("SIGTERM", () => process.exit(143));
process.exitCode = (await runTests(root, { env, adapter: name, filters: process.argv.slice(2) })) ? 0 : 1;
