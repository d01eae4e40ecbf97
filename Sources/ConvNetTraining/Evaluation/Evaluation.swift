/// How a model does on labelled data.
public struct Evaluation: Hashable, Sendable, Codable {
  /// The number of samples.
  public var count: Int
  /// The mean loss of a sample.
  public var loss: Double
  /// For each true class (row) how often each class was predicted (column).
  public var confusion: [[Int]]

  /// The part of the samples whose largest logit is that of their class; 0 where there are none.
  public var accuracy: Double {
    let right = confusion.indices.reduce(0) { $0 + confusion[$1][$1] }
    return count == 0 ? 0 : Double(right) / Double(count)
  }

  /// For each class the part of its samples that were recognised; nil where it has none.
  public var recalls: [Double?] {
    confusion.enumerated().map { index, row in
      let total = row.reduce(0, +)
      return total == 0 ? nil : Double(row[index]) / Double(total)
    }
  }

  /// The result before any sample.
  package init(classCount: Int) {
    count = 0
    loss = 0
    confusion = [[Int]](repeating: [Int](repeating: 0, count: classCount), count: classCount)
  }

  /// Adds a batch: its mean loss, and logits `[N, K]` against labels.
  package mutating func add(
    loss batchLoss: Double, logits: UnsafeBufferPointer<Float>, labels: some Collection<Int64>
  ) {
    let classes = confusion.count
    for (row, label) in labels.enumerated() {
      let predicted = Self.largest(logits[row * classes..<(row + 1) * classes])
      confusion[Int(label)][predicted] += 1
    }
    let total = count + labels.count
    guard total > 0 else { return }
    loss += (batchLoss - loss) * Double(labels.count) / Double(total)
    count = total
  }

  /// The position of the first largest number; NaN is never the largest.
  private static func largest(_ values: Slice<UnsafeBufferPointer<Float>>) -> Int {
    var best = values.startIndex
    for index in values.indices where values[index] > values[best] || values[best].isNaN {
      best = index
    }
    return best - values.startIndex
  }
}
