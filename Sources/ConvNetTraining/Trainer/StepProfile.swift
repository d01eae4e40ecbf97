package import ConvNetEngine
package import ConvNetGraph

/// How long everything in a training step takes.
struct StepProfile {
  private(set) var timings: [Plan.StepTiming] = []
  private let clock = ContinuousClock()
  private let start = ContinuousClock().now

  private var now: Double { (clock.now - start) / .seconds(1) }

  /// Runs a plan and notes its steps.
  mutating func run(_ plan: Plan, in workspace: inout Workspace) {
    let before = now
    let steps = plan.profile(in: &workspace)
    // The plan's own clock starts when changed weights are packed.
    let first = max(now - (steps.last.map { $0.start + $0.seconds } ?? 0), before)
    note("pack weights", from: before, to: first, byteCount: 0)
    for var step in steps {
      step.start += first
      timings.append(step)
    }
  }

  private mutating func note(_ name: String, from first: Double, to last: Double, byteCount: Int) {
    timings.append(
      Plan.StepTiming(
        name: name, layer: name, kind: "Trainer", pieces: 1, start: first, seconds: last - first,
        byteCount: byteCount))
  }

  /// Does something and, where a profile is wanted, notes it.
  static func measure<Result>(
    _ name: String, byteCount: Int = 0, in profile: inout StepProfile?, _ body: () throws -> Result
  ) rethrows -> Result {
    let before = profile?.now ?? 0
    defer {
      if let now = profile?.now {
        profile?.note(name, from: before, to: now, byteCount: byteCount)
      }
    }
    return try body()
  }
}

extension Trainer {
  /// A step as `step(images:labels:)` does it, and how long everything in it took.
  ///
  /// - Throws: as `step(images:labels:)`.
  package func profile(images: Tensor, labels: Tensor) throws -> [Plan.StepTiming] {
    stepProfile = StepProfile()
    defer { stepProfile = nil }
    try step(images: images, labels: labels)
    return stepProfile?.timings ?? []
  }
}
