// Where the sum of conv_tiled.wgsl or conv_matrix.wgsl begins, and how many slices it has. SPLIT: several workgroups share it; part p of
// group g, number p * groups + g of the grid's z, has `slicesPerPart` of them from the first that the parts before it leave.
let slices = (params.inner * ${AELEM}u + KT - 1u) / KT;
#if SPLIT
let before = id.z / params.groups * params.slicesPerPart;
let steps = min(params.slicesPerPart, params.tapsY * params.tapsX * slices - before);
var ty = before / slices / params.tapsX;
var tx = before / slices % params.tapsX;
var slice = before % slices;
#else
let steps = params.tapsY * params.tapsX * slices;
var ty = 0u;
var tx = 0u;
var slice = 0u;
#endif
