import { test } from "uvu";
import * as assert from "uvu/assert";
import { markdownTable, percent, points, table } from "#src/text.js";

test("rates and differences of rates", () => {
  assert.equal([percent(0.5876), percent(1), percent(0, " %")], ["58.8%", "100.0%", "0.0 %"]);
  assert.equal([points(0.0123), points(-0.5), points(0)], ["+1.2", "-50.0", "+0.0"]);
});

test("Markdown keeps a bar within its cell", () => {
  assert.equal(
    markdownTable([
      ["", "a|b"],
      ["x", "1"],
    ]),
    ["|  | a\\|b |", "| --- | ---: |", "| x | 1 |"],
  );
});

test("columns are flush", () => {
  const lines = table([
    ["", "ms"],
    ["conv", "10.5"],
  ]);
  assert.equal(lines, ["        ms", "conv  10.5"]);
});

test.run();
