// The body that the kernels for software adapters share: t = sum over k < KC of a[k] * held[k] of each column, where the lanes
// of a subgroup hold a (lane l of vector q: elements (q * SG + l) * AELEM on) and every one its own columns of `held`; t is declared, 0.
// Columns take turns block by block, as a broadcast that they share would leave the registers otherwise.
// A chunk is added up in blocks of LANES * AELEM = 8 products: fewer roundings meet one another, and LLVM keeps sums in registers.
#for Q in VECTORS
#for H in BLOCKS
#for J in TV
{
  var s = T(0.0);
  #for L in LANES
  #if AELEM == 4
  #for C in 4
  s = fma(T(subgroupBroadcast(a$Q[$C], ${H}u * ${LANES}u + ${L}u)), held[${J}u * KC + ((${Q}u * SG + ${H}u * ${LANES}u + ${L}u) * 4u + ${C}u)], s);
  #endfor
  #else
  s = fma(T(subgroupBroadcast(a$Q, ${H}u * ${LANES}u + ${L}u)), held[${J}u * KC + (${Q}u * SG + ${H}u * ${LANES}u + ${L}u)], s);
  #endif
  #endfor
  t$J += s;
}
#endfor
#endfor
#endfor
