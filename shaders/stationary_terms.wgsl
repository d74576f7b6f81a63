// Terms k to k + STEP of what conv_stationary.wgsl holds. Those past the last one repeat it; they meet zeros of a.
#if TURNED
// The other way round in memory: four terms of each of four columns at once.
#if UNROLLED
#for L in COLUMNS
touched |= touch(T(b[b0 + min(k0 * ${AELEM}u + k, params.inner * ${AELEM}u - 1u) / 4u + min(4u * tile_col + ${L}u, 4u * params.cols - 1u) * params.bStride]));
#endfor
#endif
#for F in FOURS
let at$F = b0 + min(k0 * ${AELEM}u + k + ${F}u * 4u, params.inner * ${AELEM}u - 1u) / 4u;
#for J in TV
#for C in 4
let b${F}_${J}_$C = b[at$F + (4u * col$J + ${C}u) * params.bStride];
#endfor
#for C in 4
held[${J}u * KC + k + ${F}u * 4u + ${C}u] = T(b${F}_${J}_0[$C], b${F}_${J}_1[$C], b${F}_${J}_2[$C], b${F}_${J}_3[$C]);
#endfor
#endfor
#endfor
#else
#for K in STEP
let at$K = b0 + min(k0 * ${AELEM}u + k + ${K}u, params.inner * ${AELEM}u - 1u) * params.bStride;
#endfor
#if UNROLLED
#for K in STEP
#for L in COLUMN_LINES
touched |= touch(b[at$K + min(tile_col + ${L}u * (16u / ${ELEM}u), params.cols - 1u)]);
#endfor
#endfor
#endif
#for K in STEP
#for J in TV
held[${J}u * KC + k + ${K}u] = b[at$K + col$J];
#endfor
#endfor
#endif
