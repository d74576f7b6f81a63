/** Time that passes only where the test says so: what a clock counts then depends on no machine's load. */
import { setImmediate as macrotask } from "node:timers/promises";

/** Stands in for `performance.now` from the first call of `run` to its end. */
export class VirtualTime {
  private now = 1000;
  private readonly sleepers: { until: number; wake: () => void }[] = [];

  /** Of virtual time. Who sleeps until the same moment wakes in the order of going to sleep. */
  sleep(milliseconds: number): Promise<void> {
    return new Promise((wake) => this.sleepers.push({ until: this.now + milliseconds, wake }));
  }

  /** Lets the time pass, sleeper by sleeper, until the work is done. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    const real = performance.now;
    performance.now = () => this.now;
    try {
      let done = false;
      const result = work().finally(() => {
        done = true;
      });
      result.catch(() => {}); // Reported where it is awaited, below.
      for (;;) {
        // Whatever does not sleep takes no time: all of it runs before the next one wakes.
        for (let turn = 0; turn < 3; turn++) await macrotask();
        if (done) return await result;
        this.sleepers.sort((a, b) => a.until - b.until);
        const next = this.sleepers.shift();
        if (!next) throw new Error("The work waits for something that does not sleep.");
        this.now = next.until;
        next.wake();
      }
    } finally {
      performance.now = real;
    }
  }
}
