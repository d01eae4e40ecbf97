/// How a model does on labelled data.
public struct Evaluation: Hashable, Sendable, Codable {
  /// The number of samples.
  public var count: Int
  /// The mean loss of a sample.
  public var loss: Double
  /// For each true class (row) how often each class was predicted (column).
  public var confusion: [[Int]]
  /// How many samples have their class among the five largest logits; nil where there are no more than
  /// five classes.
  public var topFiveCount: Int?

  /// The part of the samples whose largest logit is that of their class; 0 where there are none.
  public var accuracy: Double {
    let right = confusion.indices.reduce(0) { $0 + confusion[$1][$1] }
    return count == 0 ? 0 : Double(right) / Double(count)
  }

  /// The part of the samples whose class is among the five largest logits, of equal ones the first; nil
  /// where there are no more than five classes.
  public var topFiveAccuracy: Double? {
    topFiveCount.map { count == 0 ? 0 : Double($0) / Double(count) }
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
    topFiveCount = classCount > 5 ? 0 : nil
  }

  /// Adds a batch: its mean loss, and logits `[N, K]` against labels.
  package mutating func add(
    loss batchLoss: Double, logits: UnsafeBufferPointer<Float>, labels: some Collection<Int64>
  ) {
    let classes = confusion.count
    for (row, label) in labels.enumerated() {
      let values = logits[row * classes..<(row + 1) * classes]
      confusion[Int(label)][Self.largest(values)] += 1
      if let found = topFiveCount {
        topFiveCount = found + (Self.rank(Int(label), in: values) < 5 ? 1 : 0)
      }
    }
    let total = count + labels.count
    guard total > 0 else { return }
    loss += (batchLoss - loss) * Double(labels.count) / Double(total)
    count = total
  }

  /// How many numbers come before the one at a position, from the largest down; NaN comes last.
  private static func rank(_ position: Int, in values: Slice<UnsafeBufferPointer<Float>>) -> Int {
    let place = values.startIndex + position
    let value = values[place]
    guard !value.isNaN else { return values.count }
    return values.indices.reduce(0) {
      $0 + (values[$1] > value || (values[$1] == value && $1 < place) ? 1 : 0)
    }
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
