// The tile of a workgroup (LY * TM rows, LX * TV vec4 of columns) and what invocation `thread` of it stages of a slice.
let tile = workgroup_number(id, count);
let group = id.z;
let row0 = (tile / params.colTiles) * (LY * ${TM}u);
let col0 = (tile % params.colTiles) * (LX * ${TV}u);

#include tiled_rows
// Of b: one column of BL terms.
let b_col = thread % (LX * ${TV}u);
let b_term = thread / (LX * ${TV}u);
#for I in BL
var b$I: LoadedB;
#endfor
