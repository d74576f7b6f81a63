// What batch_norm_value.wgsl wants of a channel c: scale and shift, each as what fits a float and what rounding took from it. Of stats, gamma,
// beta and params.one; `width` is the number of channels in T. All names end with the column's number P (batch_norm_columns.wgsl).
let inverse$P = stats[width + c$P];
let inverse_upper$P = upper(inverse$P);
let gamma_upper$P = upper(gamma[c$P]);
let scale$P = inverse$P * gamma[c$P];
let scale_rest$P = (inverse_upper$P * gamma_upper$P - scale$P)
  + (inverse_upper$P * (gamma[c$P] - gamma_upper$P) + (inverse$P - inverse_upper$P) * gamma[c$P]);
let scale_upper$P = upper(scale$P);
let scale_lower$P = (scale$P - scale_upper$P) + scale_rest$P;
let mean$P = stats[c$P];
let mean_upper$P = upper(mean$P);
let centre$P = -mean_upper$P * scale_upper$P;
let shift$P = (beta[c$P] + centre$P) * params.one;
let shift_rest$P = lost(shift$P, beta[c$P], centre$P) - (mean_upper$P * scale_lower$P + (mean$P - mean_upper$P) * scale$P);
