/** The package's `main` is not an ES module with named exports; its module build is, but carries no types of its own. */
declare module "wgsl_reflect/wgsl_reflect.module.js" {
  export * from "wgsl_reflect";
}
