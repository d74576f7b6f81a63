/** Progress of a long command on stderr: a bar on a terminal, now and then a plain line elsewhere. */
import { SingleBar } from "cli-progress";

export interface Progress {
  /** `done` of `total` steps are finished; `note` is shown after them, such as `loss 1.23`. */
  update(done: number, note?: string): void;
  /** Ends the display; the last note stays. */
  stop(): void;
}

export interface ProgressOptions {
  stream?: NodeJS.WriteStream;
  /** Seconds between the plain lines. */
  every?: number;
}

/** The bar on the terminal, which other lines must not cut through. */
let active: { bar: SingleBar; stream: NodeJS.WriteStream } | null = null;

/** Starts the display of `total` steps. */
export function startProgress(
  title: string,
  total: number,
  { stream = process.stderr, every = 5 }: ProgressOptions = {},
): Progress {
  return stream.isTTY ? barOn(stream, title, total) : linesOn(stream, title, total, every * 1000);
}

/** A display of nothing. */
export const silentProgress: Progress = { update: () => {}, stop: () => {} };

/** Writes a line to stderr, above the bar where one is shown. */
export function writeNote(line: string): void {
  if (active) active.stream.write("\r\x1b[K");
  process.stderr.write(`${line}\n`);
  active?.bar.render();
}

function barOn(stream: NodeJS.WriteStream, title: string, total: number): Progress {
  const bar = new SingleBar({
    stream,
    format: `${title} [{bar}] {value}/{total}  {left}  {note}`,
    barCompleteChar: "#",
    barIncompleteChar: "-",
    barsize: 24,
    fps: 5,
    gracefulExit: false, // Signals are the commands' business; see Shell.onInterrupt.
  });
  const left = timeLeft(total);
  let lastNote = "";
  bar.start(total, 0, { left: "", note: "" });
  active = { bar, stream };
  return {
    update(done, note = lastNote) {
      lastNote = note;
      bar.update(done, { left: left(done), note });
    },
    stop() {
      if (active?.bar !== bar) return;
      bar.stop();
      active = null;
    },
  };
}

function linesOn(stream: NodeJS.WritableStream, title: string, total: number, every: number): Progress {
  const left = timeLeft(total);
  let written = performance.now();
  let latest = "";
  return {
    update(done, note = "") {
      const now = performance.now();
      latest = [`${title} ${done}/${total}`, left(done), note].filter(Boolean).join("  ");
      if (now - written < every) return;
      written = now;
      stream.write(`${latest}\n`);
      latest = "";
    },
    stop() {
      if (latest) stream.write(`${latest}\n`);
      latest = "";
    },
  };
}

/**
 * What is left, as the pace since the first update tells: before it shaders are compiled and workers started, and a run that
 * is resumed has steps that it did not do.
 */
function timeLeft(total: number): (done: number) => string {
  const started = performance.now();
  let first: { done: number; at: number } | null = null;
  return (done) => {
    const now = performance.now();
    first ??= { done, at: now };
    if (done >= total) return `in ${formatSeconds((now - started) / 1000)}`;
    const seconds = (now - first.at) / 1000;
    return done > first.done ? `${formatSeconds((seconds / (done - first.done)) * (total - done))} left` : "";
  };
}

/** `42s`, `3m 05s`, `2h 07m`. */
export function formatSeconds(seconds: number): string {
  const whole = Math.round(seconds);
  const two = (n: number) => String(n).padStart(2, "0");
  if (whole < 60) return `${whole}s`;
  const minutes = Math.floor(whole / 60);
  return minutes < 60 ? `${minutes}m ${two(whole % 60)}s` : `${Math.floor(minutes / 60)}h ${two(minutes % 60)}m`;
}
