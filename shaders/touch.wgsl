// For adapters whose loads are gathers (lavapipe of Mesa 26). A gather that misses the cache is waited for before the next one begins,
// or next to; a load at an address that is the same for all lanes is a plain load. So one number of every line is loaded
// beforehand that way, and all lines come at once. No compiler may find that the numbers are for nothing: a bit of them
// goes into an address, where params.none makes it 0.
fn touch(v: T) -> u32 {
  #if ELEM == 1
  return u32(v > 0.0);
  #else
  return u32(v.x > 0.0);
  #endif
}
