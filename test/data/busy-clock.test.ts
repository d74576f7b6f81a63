import { test } from "uvu";
import * as assert from "uvu/assert";
import { BusyClock } from "#src/data/busy-clock.js";
import { VirtualTime } from "../support/virtual-time.js";

test("work one after the other is added up, the time between is not", async () => {
  const [time, clock] = [new VirtualTime(), new BusyClock()];
  assert.is(clock.seconds, 0);
  await time.run(async () => {
    await clock.during(time.sleep(250));
    await time.sleep(3000);
    await clock.during(time.sleep(500));
  });
  assert.is(clock.seconds, 0.75);
});

test("work that overlaps counts once, and work that fails counts", async () => {
  const [time, clock] = [new VirtualTime(), new BusyClock()];
  const fail = async () => {
    await time.sleep(3000);
    throw new Error("unreadable");
  };
  await time.run(async () => {
    const first = clock.during(time.sleep(2000));
    await time.sleep(1000);
    const second = clock.during(fail());
    await first;
    assert.is(clock.seconds, 0, "not all of it has ended");
    await second.then(
      () => assert.unreachable(),
      (error) => assert.is(error.message, "unreadable"),
    );
  });
  assert.is(clock.seconds, 4);
});

test.run();
