// Undoes lowering.ts's `grid`: the running number of a workgroup in a grid folded into x and y.
fn workgroup_number(id: vec3u, count: vec3u) -> u32 { return id.y * count.x + id.x; }
