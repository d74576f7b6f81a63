/** Adds up the time in which at least one of several overlapping pieces of work is under way. */
export class BusyClock {
  private underWay = 0;
  private since = 0;
  private milliseconds = 0;

  /** Counts from now until the promise is settled. */
  async during<T>(work: Promise<T>): Promise<T> {
    if (this.underWay++ === 0) this.since = performance.now();
    try {
      return await work;
    } finally {
      if (--this.underWay === 0) this.milliseconds += performance.now() - this.since;
    }
  }

  /** Of the work that has ended. */
  get seconds(): number {
    return this.milliseconds / 1000;
  }
}
