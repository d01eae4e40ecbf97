public import ConvNetGraph

/// How images are read ahead of the step that needs them.
public struct Loading: Hashable, Sendable {
  /// The threads that read, decode and change images; as many as compute unless given.
  ///
  /// They take processor time that the lanes leave over, and results do not depend on their number.
  public var threads: Int?
  /// How many batches are read ahead.
  public var batches: Int
  /// Whether images that are in memory already are prepared by those threads, too, instead of by the
  /// lanes when the step asks for them.
  public var includesMemory: Bool

  /// Makes a choice.
  public init(threads: Int? = nil, batches: Int = 2, includesMemory: Bool = false) {
    self.threads = threads
    self.batches = batches
    self.includesMemory = includesMemory
  }

  /// The bytes of images read ahead.
  ///
  /// - Parameter batch: the shape of a batch, `[N, H, W, C]`.
  public func byteCount(batch: Shape) -> Int { batches * batch.count * 4 }

  /// Refuses numbers below 1.
  func check() throws {
    for (what, number) in [("threads", threads ?? 1), ("batches", batches)] where number < 1 {
      throw TrainingError(.invalidOption, "images cannot be read ahead by \(number) \(what)")
    }
  }
}
