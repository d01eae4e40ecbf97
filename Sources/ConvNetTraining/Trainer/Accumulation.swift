import ConvNetEngine
import ConvNetGraph

/// How a step's batch is computed in parts that fit into less memory.
public struct Accumulation: Hashable, Sendable {
  /// How the statistics of the parts move the running ones.
  public enum Statistics: String, Hashable, Sendable {
    /// Each part is an update of its own, in order, as if it had been a step.
    case perMicroBatch
    /// The pooled moments of all parts, which are those of the whole batch, are one update.
    case pooled
  }

  /// The parts of a batch, of sizes that differ by one at most; a smaller batch has fewer.
  public var steps: Int
  /// How the statistics of the parts move the running ones.
  public var statistics: Statistics

  /// Makes a choice.
  public init(steps: Int, statistics: Statistics = .pooled) {
    self.steps = steps
    self.statistics = statistics
  }

  /// The parts of so many samples, in order.
  package func parts(of count: Int) -> [Range<Int>] {
    let parts = max(min(steps, count), 1)
    return (0..<parts).map { count * $0 / parts..<count * ($0 + 1) / parts }
  }
}

/// Gradients of several micro-batches, averaged by their numbers of samples: for losses that are means
/// over samples, ∇L = Σ (nᵢ/n)·∇Lᵢ.
final class GradientAccumulator {
  private let names: [String]
  private let storage: [TensorStorage]
  private let counts: [Int]

  /// Makes room for the gradients of an optimiser's parameters.
  init(_ state: OptimizerState) {
    names = state.entries.map(\.gradientName)
    counts = state.entries.map(\.shape.count)
    storage = counts.map { TensorStorage(byteCount: $0 * 4) }
  }

  var byteCount: Int { counts.reduce(0) { $0 + $1 * 4 } }

  /// Adds the gradients of the last run with a weight; the first of a step replaces what was there.
  func add(_ execution: Execution, weight: Float, isFirst: Bool) throws {
    for (index, name) in names.enumerated() {
      let source = try execution.output(name, of: Float.self)
      let target = pointer(index)
      if isFirst {
        for i in 0..<counts[index] { target[i] = weight * source[i] }
      } else {
        for i in 0..<counts[index] { target[i] += weight * source[i] }
      }
    }
  }

  /// The averaged gradient of a name.
  func gradient(_ name: String) -> UnsafeBufferPointer<Float> {
    guard let index = names.firstIndex(of: name) else {
      fatalError("There is no gradient \(name) to accumulate.")
    }
    return UnsafeBufferPointer(start: pointer(index), count: counts[index])
  }

  private func pointer(_ index: Int) -> UnsafeMutablePointer<Float> {
    storage[index].base.assumingMemoryBound(to: Float.self)
  }
}
