// GATHERS: which lines batch norm's kernels have to fetch ahead (touch.wgsl). Wants params.channels, in T.
#include touch

/** The two lines at which the eight lanes of a workgroup begin and end in row r; `first` is the first lane's column, in T. */
fn lines_of(r: u32, first: u32) -> vec2<u32> {
  return r * params.channels + vec2<u32>(first, min(first + 4u, params.channels - 1u));
}
