fn precise_exp(t: E) -> E {
  let clamped = max(t, E(-87.0));
  let n = round(clamped * 1.44269504);
  let r = (clamped - n * 0.693359375) + n * 2.12194440e-4;  // ln 2 in two parts: n times the first is exact
  var series = E(1.38888889e-3);
  series = fma(series, r, E(8.33333333e-3));
  series = fma(series, r, E(4.16666667e-2));
  series = fma(series, r, E(1.66666667e-1));
  series = fma(series, r, E(0.5));
  return ldexp(1.0 + fma(series, r * r, r), EI(n));
}
fn precise_exp(t: E) -> E {
  let clamped = max(t, E(-87.0));
  let n = round(clamped * 1.44269504);
  let r = (clamped - n * 0.693359375) + n * 2.12194440e-4;  // ln 2 in two parts: n times the first is exact
  var series = E(1.38888889e-3);
  series = fma(series, r, E(8.33333333e-3));
  series = fma(series, r, E(4.16666667e-2));
  series = fma(series, r, E(1.66666667e-1));
  series = fma(series, r, E(0.5));
  return ldexp(1.0 + fma(series, r * r, r), EI(n));
}
fn precise_exp(t: E) -> E {
  let clamped = max(t, E(-87.0));
  let n = round(clamped * 1.44269504);
  let r = (clamped - n * 0.693359375) + n * 2.12194440e-4;  // ln 2 in two parts: n times the first is exact
  var series = E(1.38888889e-3);
  series = fma(series, r, E(8.33333333e-3));
  series = fma(series, r, E(4.16666667e-2));
  series = fma(series, r, E(1.66666667e-1));
  series = fma(series, r, E(0.5));
  return ldexp(1.0 + fma(series, r * r, r), EI(n));
}
fn precise_exp(t: E) -> E {
  let clamped = max(t, E(-87.0));
  let n = round(clamped * 1.44269504);
  let r = (clamped - n * 0.693359375) + n * 2.12194440e-4;  // ln 2 in two parts: n times the first is exact
  var series = E(1.38888889e-3);
  series = fma(series, r, E(8.33333333e-3));
  series = fma(series, r, E(4.16666667e-2));
  series = fma(series, r, E(1.66666667e-1));
  series = fma(series, r, E(0.5));
  return ldexp(1.0 + fma(series, r * r, r), EI(n));
}
