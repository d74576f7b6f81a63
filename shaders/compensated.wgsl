// Kahan's compensated sum: `lost` is what rounding took from `total`, and is paid back with the next value, so that the error
// stays that of one rounding however many values are added. `one` is 1, but from a uniform: a compiler that may treat floats as
// real numbers (Mesa's does) sees that (total + v) - total is v, and `lost` would always be 0.
struct Sum { total: T, lost: T }

fn plus(s: Sum, v: T, one: f32) -> Sum {
  let paid = v - s.lost;
  let total = (s.total + paid) * one;
  return Sum(total, (total - s.total) - paid);
}

// Of the terms of both.
fn joined(a: Sum, b: Sum, one: f32) -> Sum {
  let sum = plus(a, b.total, one);
  return Sum(sum.total, sum.lost + b.lost);
}
