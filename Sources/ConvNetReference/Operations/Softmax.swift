import ConvNetGraph
import Glibc

extension ReferenceTensor {
  /// The values row by row along the last axis.
  fileprivate var rows: [ArraySlice<Double>] {
    let columns = shape[shape.rank - 1]
    guard columns > 0 else { return [] }
    return stride(from: 0, to: values.count, by: columns).map { values[$0..<($0 + columns)] }
  }
}

/// log softmax(x) = x − max − log Σ exp(x − max), where no exponential overflows.
private func logSoftmax(_ row: ArraySlice<Double>) -> [Double] {
  let maximum = row.reduce(-Double.infinity) { BinaryFunction.maximum.value($0, $1) }
  let logSum = log(row.reduce(0) { $0 + exp($1 - maximum) })
  return row.map { $0 - maximum - logSum }
}

extension Operation {
  /// y = exp(x)/Σ exp(x) along the last axis.
  func evaluateSoftmax(_ x: ReferenceTensor) -> [Double] {
    x.rows.flatMap { logSoftmax($0).map { exp($0) } }
  }
}

extension SoftmaxCrossEntropy {
  /// loss[n] = −Σ q[k]·log softmax(x[n])[k]; NaN for a label that is no class.
  func evaluate(_ x: ReferenceTensor, labels: ReferenceTensor) -> [Double] {
    guard x.shape[1] > 0 else { return labels.values.map { _ in .nan } }
    return zip(x.rows, labels.values).map { row, label in
      // A class that is not wanted at all adds nothing, even where its logarithm is infinite.
      zip(targets(label, classes: row.count), logSoftmax(row)).reduce(0) {
        $1.0 == 0 ? $0 : $0 - $1.0 * $1.1
      }
    }
  }

  /// dx[n,k] = d(loss)[n]·(softmax(x[n])[k] − q[k]).
  func evaluateGradient(
    of loss: ReferenceTensor, _ x: ReferenceTensor, labels: ReferenceTensor
  ) -> [Double] {
    x.rows.enumerated().flatMap { n, row in
      zip(targets(labels.values[n], classes: row.count), logSoftmax(row)).map {
        loss.values[n] * (exp($1) - $0)
      }
    }
  }

  /// q = (1 − s)·onehot(label) + s/K; NaN for a label that is no class.
  private func targets(_ label: Double, classes: Int) -> [Double] {
    guard label >= 0, label < Double(classes) else {
      return [Double](repeating: .nan, count: classes)
    }
    var targets = [Double](repeating: labelSmoothing / Double(classes), count: classes)
    targets[Int(label)] += 1 - labelSmoothing
    return targets
  }
}
