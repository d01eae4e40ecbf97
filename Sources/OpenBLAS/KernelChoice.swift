import CConvNetOpenBLAS

/// The instruction sets that both the CPU and the operating system offer.
package struct CPUFeatures: OptionSet, Sendable {
  /// The bits that the C header defines.
  package let rawValue: UInt32

  /// Makes a set of the given bits.
  package init(rawValue: UInt32) { self.rawValue = rawValue }

  static let avx = Self(rawValue: UInt32(convnet_cpu_avx))
  static let avx2 = Self(rawValue: UInt32(convnet_cpu_avx2_fma))
  static let avx512 = Self(rawValue: UInt32(convnet_cpu_avx512))
  static let bfloat16 = Self(rawValue: UInt32(convnet_cpu_avx512_bf16))
  static let amx = Self(rawValue: UInt32(convnet_cpu_amx))
  static let fma4 = Self(rawValue: UInt32(convnet_cpu_fma4))

  /// Those of this machine, by CPUID and XGETBV; empty where the CPU is not an x86-64.
  package static let current = Self(rawValue: convnet_cpu_features())
}

/// Which kernels to use, and why: a pure function of what is known.
package struct KernelChoice: Equatable, Sendable {
  /// What the choice depends on.
  package struct Facts: Sendable {
    package var defaultCore: String
    package var features: CPUFeatures
    package var environmentCore: String?
    package var canSwitch: Bool

    package init(
      defaultCore: String, features: CPUFeatures, environmentCore: String? = nil,
      canSwitch: Bool = true
    ) {
      self.defaultCore = defaultCore
      self.features = features
      self.environmentCore = environmentCore
      self.canSwitch = canSwitch
    }
  }

  /// The kernels to switch to; nil keeps those in use.
  package let core: String?
  /// Why, as a sentence.
  package let reason: String
  /// Whether a user's OPENBLAS_CORETYPE decided.
  package var environmentRespected = false

  /// Decides on a request.
  package static func decide(_ request: BLAS.Kernel, _ facts: Facts) -> Self {
    let current = facts.defaultCore
    switch request {
    case .keep:
      return Self(core: nil, reason: "\(current) was kept because the program asked for it.")
    case .named(let name):
      return named(name, facts)
    case .recommended:
      return automatic(facts)
    case .automatic:
      guard let user = facts.environmentCore else { return automatic(facts) }
      let better = automatic(facts).core.map { "; without it \($0) would be" } ?? ""
      let reason = "\(current) is in use because OPENBLAS_CORETYPE=\(user) is set\(better)."
      return Self(core: nil, reason: reason, environmentRespected: true)
    }
  }

  private static func named(_ name: String, _ facts: Facts) -> Self {
    let current = facts.defaultCore
    if name.lowercased() == current.lowercased() {
      return Self(core: nil, reason: "\(current) is in use already, as the program asked.")
    }
    guard facts.canSwitch else {
      return Self(
        core: nil, reason: "\(current) was kept: this OpenBLAS cannot change to \(name).")
    }
    guard facts.features.isSuperset(of: requirement(of: name)) else {
      return Self(
        core: nil, reason: "\(current) was kept: the CPU lacks instructions that \(name) needs.")
    }
    return Self(core: name, reason: "\(name) is in use because the program asked for it.")
  }

  /// The best kernels by instruction sets, where OpenBLAS went by family and model.
  ///
  /// A name that is in neither list (a newer OpenBLAS, another architecture) is a deliberate
  /// choice.
  private static func automatic(_ facts: Facts) -> Self {
    let current = facts.defaultCore
    let isBeforeHaswell = beforeHaswell.contains(current.lowercased())
    let isBeforeAVX512 = isBeforeHaswell || ["haswell", "zen"].contains(current.lowercased())
    let better: (core: String, set: String)? =
      if isBeforeAVX512, facts.features.contains([.avx2, .avx512]) {
        ("SkylakeX", "AVX-512")
      } else if isBeforeHaswell, facts.features.contains(.avx2) {
        ("Haswell", "AVX2 and FMA")
      } else {
        nil
      }
    guard let better else {
      return Self(core: nil, reason: "\(current) is OpenBLAS's own choice and suits this CPU.")
    }
    guard facts.canSwitch else {
      return Self(
        core: nil,
        reason: "\(current) was kept: the CPU has \(better.set), but this OpenBLAS cannot change.")
    }
    let source = facts.environmentCore == nil ? "OpenBLAS chose" : "OPENBLAS_CORETYPE asks for"
    return Self(
      core: better.core,
      reason: "\(source) \(current), but the CPU has \(better.set), which \(better.core) uses.")
  }

  private static let beforeHaswell: Set = [
    "katmai", "coppermine", "northwood", "prescott", "banias", "atom", "core2", "penryn",
    "dunnington", "nehalem", "sandybridge", "athlon", "opteron", "opteron_sse3", "barcelona",
    "bobcat", "nano",
  ]

  /// What the kernels of this name need; OpenBLAS itself takes a forced name on trust.
  package static func requirement(of name: String) -> CPUFeatures {
    switch name.lowercased() {
    case "sandybridge": [.avx]
    case "haswell", "zen": [.avx, .avx2]
    case "skylakex", "zen4", "zen5": [.avx, .avx2, .avx512]
    case "cooperlake": [.avx, .avx2, .avx512, .bfloat16]
    case "sapphirerapids", "graniterapids": [.avx, .avx2, .avx512, .bfloat16, .amx]
    case "bulldozer", "piledriver", "steamroller", "excavator": [.avx, .fma4]
    default: []
    }
  }
}
