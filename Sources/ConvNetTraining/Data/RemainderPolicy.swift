/// What becomes of the samples that do not fill a batch.
public enum RemainderPolicy: String, Hashable, Sendable, Codable, CaseIterable {
  /// They make a smaller batch.
  case keep
  /// They wait for another epoch, whose order is another.
  case drop
  /// They join the last batch, so that none is so small that its statistics mean little.
  case merge

  /// Steps of an epoch.
  package func stepCount(of count: Int, batchSize: Int) -> Int {
    let size = max(batchSize, 1)
    return switch self {
    case .drop: count / size
    case .keep: count / size + (count.isMultiple(of: size) ? 0 : 1)
    case .merge: count < size ? min(count, 1) : count / size
    }
  }

  /// The samples of a step in the order of their epoch.
  ///
  /// - Parameter step: counted from 0, below `stepCount(of:batchSize:)`.
  package func samples(ofStep step: Int, of count: Int, batchSize: Int) -> Range<Int> {
    let isLast = step == stepCount(of: count, batchSize: batchSize) - 1
    let end = isLast && self != .drop ? count : (step + 1) * batchSize
    return step * batchSize..<end
  }
}
