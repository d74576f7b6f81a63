// Both operands of conv_wide.wgsl (LEFT is a) and conv_weight_grad_wide.wgsl (x) as they are loaded, number `at` of their eights, and as
// they are staged. HALF_A, HALF_B: stored as float16, an element each; else as float32, two elements each.
#if HALF_A
alias LoadedA = vec4<u32>;
fn load_a(at: u32) -> LoadedA { return ${LEFT}[at]; }
fn staged_a(v: LoadedA) -> vec4<u32> { return v; }
#else
alias LoadedA = Floats;
fn load_a(at: u32) -> LoadedA { return Floats(${LEFT}[2u * at], ${LEFT}[2u * at + 1u]); }
fn staged_a(v: LoadedA) -> vec4<u32> { return halves(v.low, v.high); }
#endif
#if HALF_B
alias LoadedB = vec4<u32>;
fn load_b(at: u32) -> LoadedB { return b[at]; }
fn staged_b(v: LoadedB) -> vec4<u32> { return v; }
#else
alias LoadedB = Floats;
fn load_b(at: u32) -> LoadedB { return Floats(b[2u * at], b[2u * at + 1u]); }
fn staged_b(v: LoadedB) -> vec4<u32> { return halves(v.low, v.high); }
#endif
