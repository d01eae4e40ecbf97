import CConvNetLoops

/// What the engine runs on, for reports.
package enum EngineInfo {
  /// The instruction set that the vector loops use: `plain`, `x86-64-v3` or `x86-64-v4`.
  package static var loopVariant: String {
    String(cString: cnl_variant_name(cnl_variant_current()))
  }
}
