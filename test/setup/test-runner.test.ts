import { tmpdir } from "node:os";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { countTests, runNode } from "#src/setup/test-runner.js";

const summary = (total: number, passed: number, skipped = 0) =>
  `\n  Total:     ${total}\n  Passed:    ${passed}\n  Skipped:   ${skipped}\n  Duration:  1.00ms\n\n`;
const node = (code: string, seconds = 20) => runNode(["-e", code], { cwd: tmpdir(), env: process.env, seconds });

test("uvu's summary is counted", () => {
  const ending = "exit code 0";
  assert.equal(countTests({ output: summary(5, 5, 2), ending }), { passed: 5, failed: 0, skipped: 2, problem: null });
  assert.equal(countTests({ output: summary(5, 3), ending: "exit code 1" }), {
    passed: 3,
    failed: 2,
    skipped: 0,
    problem: null,
  });
});

test("a crash is a failure, before the summary and after it", () => {
  assert.equal(countTests({ output: "", ending: "ended by SIGSEGV" }).failed, 1);
  const after = countTests({ output: summary(5, 5), ending: "ended by SIGSEGV" });
  assert.equal([after.passed, after.failed, after.problem], [5, 1, "ended by SIGSEGV"]);
  assert.is(countTests({ output: summary(5, 5), ending: "exit code 1" }).failed, 1);
  assert.is(countTests({ output: summary(5, 4), ending: "exit code 0" }).failed, 2);
});

test("a file without a test is a failure", () => {
  assert.is(countTests({ output: "", ending: "exit code 0" }).problem, "no test ran");
  assert.is(countTests({ output: summary(0, 0), ending: "exit code 0" }).failed, 1);
});

test("a process's output and end are told", async () => {
  const { output, ending } = await node("console.log('out'); console.error('err'); process.exitCode = 3");
  assert.match(output, "out\n");
  assert.match(output, "err\n");
  assert.is(ending, "exit code 3");
  assert.is((await node("process.kill(process.pid, 'SIGABRT')")).ending, "ended by SIGABRT");
});

test("a process that hangs is killed with its children", async () => {
  const child =
    "require('child_process').spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], {stdio: 'inherit'})";
  const started = performance.now();
  const { output, ending } = await node(`console.log('child', ${child}.pid)`, 1);
  assert.is(ending, "ran longer than 1 s");
  assert.ok(performance.now() - started < 10_000, "the child would keep the pipes open");
  const pid = Number(/child (\d+)/.exec(output)?.[1]);
  assert.ok(pid > 0);
});

test.run();
