/**
 * The parent's side of the comparison's protocol: every system is a process of its own that answers requests one at a time
 * (bench/peers/child.mjs), and waits in between without using a core.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import type { Writable } from "node:stream";

/** An inference; the training step that every peer can do; the whole training step of MPN. */
export type Work = "infer" | "train" | "step";

/** What a child is told to get ready for. Files are safetensors, `model` is ONNX. */
export interface Job {
  readonly mode: Work;
  readonly batch: number;
  readonly weights: string;
  readonly inputs: string;
  readonly model: string;
  /** Threads of systems that run on the CPU. */
  readonly threads: number;
  readonly lr: number;
  readonly momentum: number;
  readonly weightDecay: number;
}

/** What a system says of itself once it is prepared. */
export interface Facts {
  readonly version?: string;
  readonly adapter?: string;
  /** Floating point operations of a run, where it counts them. */
  readonly flops?: number;
  /** Problems for which this engine has tuned choices. */
  readonly tuned?: number;
}

interface Replies {
  prepare: Facts;
  run: { ms: number };
  result: { features?: string; losses?: number[] };
  memory: { gpuBytes?: number } & Record<string, number | null | undefined>;
}

export interface Command {
  readonly file: string;
  readonly args: readonly string[];
}

/** Of what a child prints: enough for the message of an error. */
const KEPT = 4000;
const CLOCK_TICK_MS = 10;

const running = new Set<ChildProcess>();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

export class Peer {
  private readonly child: ChildProcess;
  private waiting: { resolve: (line: string) => void; reject: (error: Error) => void } | null = null;
  private printed = "";
  private readonly ended: Promise<void>;

  constructor(
    readonly name: string,
    command: Command,
    env: NodeJS.ProcessEnv,
    private readonly limitSeconds: number,
  ) {
    this.child = spawn(command.file, command.args, { env, stdio: ["pipe", "pipe", "pipe", "pipe"] });
    const [stdin, stdout, stderr, replies] = this.child.stdio;
    for (const stream of [stdout, stderr])
      stream?.on("data", (text) => {
        this.printed = (this.printed + text).slice(-KEPT);
      });
    // What is written to a child that has ended is no error of its own: its end is reported.
    stdin?.on("error", () => {});
    createInterface({ input: replies as NodeJS.ReadableStream }).on("line", (line) => this.waiting?.resolve(line));
    running.add(this.child);
    this.ended = new Promise((resolve) => {
      const end = (how: string) => {
        running.delete(this.child);
        this.waiting?.reject(new Error(`${name} ${how}: ${this.lastWords()}`));
        resolve();
      };
      this.child.on("error", (error) => end(`could not be started (${error.message})`));
      this.child.on("close", (code, signal) => end(`ended ${signal ? `by ${signal}` : `with code ${code}`}`));
    });
  }

  /** @throws Error with the child's own message, or what it printed last when it ended or took too long */
  async ask<R extends keyof Replies>(request: R, job?: Job): Promise<Replies[R]> {
    const { exitCode, signalCode } = this.child;
    if (exitCode !== null || signalCode !== null) throw new Error(`${this.name} has ended: ${this.lastWords()}`);
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      this.child.kill("SIGKILL");
    }, 1000 * this.limitSeconds);
    try {
      const line = await new Promise<string>((resolve, reject) => {
        this.waiting = { resolve, reject };
        (this.child.stdin as Writable).write(`${JSON.stringify({ request, job })}\n`);
      });
      const reply = JSON.parse(line) as Replies[R] & { error?: string };
      if (reply.error !== undefined) throw new Error(reply.error);
      return reply;
    } catch (error) {
      throw late ? new Error(`${this.name} took more than ${this.limitSeconds} s to ${request}`) : error;
    } finally {
      this.waiting = null;
      clearTimeout(timer);
    }
  }

  /** The most memory that was resident, in bytes; null where the system does not tell. */
  get peakBytes(): number | null {
    const [, kibibytes] = /^VmHWM:\s+(\d+) kB/m.exec(this.proc("status")) ?? [];
    return kibibytes === undefined ? null : 1024 * Number(kibibytes);
  }

  /** CPU time used so far by all threads, in steps of 10 ms; null where the system does not tell. */
  get cpuMs(): number | null {
    // Fields 14 and 15; the second one is the name in parentheses, which may hold anything.
    const fields = this.proc("stat").split(")").at(-1)!.trim().split(" ");
    return fields.length > 12 ? CLOCK_TICK_MS * (Number(fields[11]) + Number(fields[12])) : null;
  }

  private proc(file: string): string {
    try {
      return readFileSync(`/proc/${this.child.pid}/${file}`, "utf8");
    } catch {
      return "";
    }
  }

  private lastWords(): string {
    const lines = this.printed.trim().split("\n");
    return lines.findLast((line) => /error/i.test(line)) ?? lines.at(-1) ?? "";
  }

  /** Ends the child, which may still be at work. */
  async close(): Promise<void> {
    this.child.stdin?.end();
    const timer = setTimeout(() => this.child.kill("SIGKILL"), 5000);
    await this.ended;
    clearTimeout(timer);
  }
}
