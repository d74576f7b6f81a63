// What batch_norm_value.wgsl wants of a channel c: scale and shift, each as what fits a float and what rounding took from it. Of stats, gamma,
// beta and params.one.
let inverse = stats[params.channels + c];
let inverse_upper = upper(inverse);
let gamma_upper = upper(gamma[c]);
let scale = inverse * gamma[c];
let scale_rest = (inverse_upper * gamma_upper - scale)
  + (inverse_upper * (gamma[c] - gamma_upper) + (inverse - inverse_upper) * gamma[c]);
let scale_upper = upper(scale);
let scale_lower = (scale - scale_upper) + scale_rest;
let mean = stats[c];
let mean_upper = upper(mean);
let centre = -mean_upper * scale_upper;
let shift = (beta[c] + centre) * params.one;
let shift_rest = lost(shift, beta[c], centre) - (mean_upper * scale_lower + (mean - mean_upper) * scale);
