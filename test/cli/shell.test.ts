import { spawn, spawnSync } from "node:child_process";
import { symlinkSync } from "node:fs";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { formatSeconds, startProgress } from "#src/cli/progress.js";
import { SYNTH_DEFAULTS } from "#src/data/synth/defaults.js";
import { resolveOptions } from "#src/data/synth/options.js";
import { temporaryFolder } from "../support/tiny.js";
import { VirtualTime } from "../support/virtual-time.js";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** A program of its own on the shell; its commands end in each way that a command can. */
const program = `
import { readFileSync } from "node:fs";
import { cpuOnly, collect, main, run, wholeNumber } from "#src/cli/shell.js";
import { UserError } from "#src/errors.js";
const register = (program) => {
  const add = (name, action) => cpuOnly(program.command(name).action(run(action)));
  add("answer", async (shell) => {
    shell.print("forty-two");
    shell.note("thinking");
    shell.warn("rounded");
    const progress = shell.progress("steps", 2);
    progress.update(2);
    progress.stop();
    return { answer: 42 };
  }).option("--count <n>", "a number", wholeNumber(1)).option("--set <key=value>", "a setting", collect, []);
  add("refuse", async () => { throw new UserError("no such file; make it"); });
  add("misuse", async () => { throw new UserError("wrong setting", { exitCode: 2 }); });
  add("break", async () => { throw new TypeError("undefined is not a function"); });
  add("read", async (shell, path) => ({ text: readFileSync(path, "utf8") })).argument("<path>");
  add("wait", async (shell) => {
    let timer;
    const done = shell.onInterrupt(() => clearInterval(timer));
    await new Promise((resolve) => { timer = setInterval(() => {}, 1000); shell.print("ready"); process.once("SIGINT", resolve); });
    done();
    shell.print("saved");
    return {};
  });
};
process.exitCode = await main(["node", "mpn", ...process.argv.slice(1)], [register]);
`;
const command = ["--input-type=module", "-e", program, "--"];

function mpn(...args: string[]) {
  const env = { ...process.env, MPN_DEBUG: "" };
  const { stdout, stderr, status } = spawnSync(process.execPath, [...command, ...args], {
    cwd: root,
    encoding: "utf8",
    env,
  });
  return { stdout, stderr, status };
}

test("an answer goes to stdout, what goes on to stderr", () => {
  const { stdout, stderr, status } = mpn("answer");
  assert.is(status, 0);
  assert.is(stdout, "forty-two\n");
  assert.match(stderr, /^thinking\nwarning: rounded\nsteps 2\/2 {2}in \d+s\n$/);
});

test("--json prints one object on stdout and nothing else, before or after the command", () => {
  for (const args of [
    ["answer", "--json"],
    ["--json", "answer"],
  ]) {
    const { stdout, stderr, status } = mpn(...args);
    assert.equal([JSON.parse(stdout), stderr, status], [{ answer: 42 }, "warning: rounded\n", 0]);
  }
});

test("a refusal is told without a stack and exits 1, wrong usage 2", () => {
  assert.equal(mpn("refuse"), { stdout: "", stderr: "error: no such file; make it\n", status: 1 });
  assert.equal(mpn("misuse"), { stdout: "", stderr: "error: wrong setting\n", status: 2 });
  assert.equal(mpn("refuse", "--json").stdout, '{"error":"no such file; make it"}\n');
});

test("an unexpected error is called a bug, with a stack only on request", () => {
  const { stdout, stderr, status } = mpn("break");
  assert.equal([stdout, status], ["", 1]);
  assert.match(stderr, /^error: undefined is not a function\nThis is a bug in mpn\./);
  assert.not.match(stderr, /\n\s+at /);
  const env = { ...process.env, MPN_DEBUG: "1" };
  const debugged = spawnSync(process.execPath, [...command, "break"], { cwd: root, encoding: "utf8", env });
  assert.match(debugged.stderr, /TypeError: .*\n\s+at /);
});

test("files that are not what they should be are no bug: the path is named, and what is wrong with it", () => {
  const folder = temporaryFolder();
  const [loop, missing] = [join(folder, "loop"), join(folder, "missing")];
  symlinkSync("loop", loop);
  for (const [path, reason] of Object.entries({
    [missing]: "there is no such file or folder",
    [loop]: "symbolic links lead in a circle",
    // Where a folder is read, the system does not name it.
    [folder]: "it is a folder, where a file is expected",
  })) {
    const { stderr, status } = mpn("read", path);
    assert.is(status, 1);
    assert.match(stderr, `: ${reason}`);
    if (path !== folder) assert.match(stderr, `error: ${path}: `);
    assert.not.match(stderr, "bug");
  }
});

test("wrong usage exits 2 and says what is right", () => {
  const unknown = mpn("anwser", "--json");
  assert.is(unknown.status, 2);
  assert.match(unknown.stderr, /unknown command 'anwser'\n\(Did you mean answer\?\)/);
  assert.match(JSON.parse(unknown.stdout).error, /unknown command 'anwser'/);
  const option = mpn("answer", "--cuont", "3");
  assert.is(option.status, 2);
  assert.match(option.stderr, /unknown option '--cuont'\n\(Did you mean --count\?\)/);
  for (const value of ["0", "1.5", "many", ""]) {
    const { status, stderr } = mpn("answer", "--count", value);
    assert.is(status, 2);
    assert.match(stderr, /Expected a whole number of at least 1/);
  }
  assert.is(mpn().status, 2);
  assert.is(mpn("--help").status, 0);
});

test("Ctrl-C lets a command save and end", async () => {
  const child = spawn(process.execPath, [...command, "wait"], { cwd: root, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    if (output === "") child.kill("SIGINT");
    output += text;
  });
  const code = await new Promise((resolve) => child.on("close", resolve));
  assert.equal([code, output], [0, "ready\nsaved\n"]);
});

test("the real program lists its commands and knows its version", () => {
  const cli = (...args: string[]) =>
    spawnSync(process.execPath, ["dist/cli/index.js", ...args], { cwd: root, encoding: "utf8" });
  assert.match(cli("--version").stdout, /^\d+\.\d+\.\d+\n$/);
  assert.match(cli("--help").stdout, /^ {2}prior /m);
  const missing = cli("prior", "/nowhere/at/all", "--json");
  assert.is(missing.status, 1);
  assert.match(JSON.parse(missing.stdout).error, "/nowhere/at/all");
});

test("synth --help shows every default, and they hold", () => {
  const { stdout } = spawnSync(process.execPath, ["dist/cli/index.js", "synth", "--help"], {
    cwd: root,
    encoding: "utf8",
  });
  const told = stdout.replace(/\s+/g, " ");
  const { size, maps, testMaps, ...others } = SYNTH_DEFAULTS;
  assert.match(told, `--size <HxW> height and width of the pictures in pixels (default: ${size.join("x")})`);
  assert.ok(maps && told.includes("--no-maps"));
  assert.ok(!testMaps && told.includes("--test-maps"));
  for (const [key, value] of Object.entries(others)) {
    const option = `--${key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)} `;
    const from = told.indexOf(option);
    const [own] = told.slice(from + option.length).split(" --");
    assert.ok(from > 0 && own.includes(`default: ${JSON.stringify(value)})`), `${option}${own}`);
  }
  assert.equal(resolveOptions({}), SYNTH_DEFAULTS);
});

test("progress where there is no terminal is a plain line now and then, and the last one", () => {
  const stream = new PassThrough();
  const progress = startProgress("epoch", 3, { stream: stream as unknown as NodeJS.WriteStream, every: 1000 });
  for (const done of [1, 2, 3]) progress.update(done, `loss ${4 - done}`);
  progress.stop();
  progress.stop();
  assert.is(stream.read()?.toString(), "epoch 3/3  in 0s  loss 1\n");
});

test("the time left is that of the steps still to do, whatever came before the first one", async () => {
  const stream = new PassThrough();
  const time = new VirtualTime();
  await time.run(async () => {
    const progress = startProgress("training", 1600, { stream: stream as unknown as NodeJS.WriteStream, every: 0 });
    await time.sleep(30_000); // The first step after a resume at 800, which compiles.
    for (const done of [801, 802, 803]) {
      progress.update(done);
      await time.sleep(500);
    }
    progress.update(1600);
    progress.stop();
  });
  assert.equal(stream.read()?.toString().trim().split("\n"), [
    "training 801/1600",
    "training 802/1600  6m 39s left",
    "training 803/1600  6m 39s left",
    "training 1600/1600  in 32s",
  ]);
});

test("durations are short", () => {
  assert.equal([0.4, 59.4, 60, 185, 3599.6, 7620].map(formatSeconds), [
    "0s",
    "59s",
    "1m 00s",
    "3m 05s",
    "1h 00m",
    "2h 07m",
  ]);
});

test.run();
