// GATHERS: what batch norm's kernels load, fetched ahead (touch.wgsl): x, and of dy, y and the residual those that they read. A workgroup is
// a row of eight lanes, whose columns begin at `first`, in T, and lie in two lines.
#include touch

/** Eight rows, from r on. */
fn touch_rows(r: u32, end: u32, first: u32) -> u32 {
  var touched = 0u;
  for (var ahead = r; ahead < min(r + 8u, end); ahead++) {
    let lines = ahead * params.channels + vec2<u32>(first, min(first + 4u, params.channels - 1u));
    touched |= touch(T(x[lines.x])) | touch(T(x[lines.y]));
    #if WITH_DY
    touched |= touch(T(dy[lines.x])) | touch(T(dy[lines.y]));
    #endif
    #if WITH_Y
    touched |= touch(T(y[lines.x])) | touch(T(y[lines.y]));
    #endif
    #if WITH_RESIDUAL
    touched |= touch(T(residual[lines.x])) | touch(T(residual[lines.y]));
    #endif
  }
  return touched;
}
