import ConvNet
import Glibc

extension ExperimentContext {
  /// The type of a batch of images.
  var inputType: TensorType {
    let shape = train.images.shape
    return .image(height: shape[1], width: shape[2], channels: shape[3])
  }

  /// The numbers of steps after which a course is looked at: every fiftieth of it, and more often at
  /// the beginning, where most happens.
  static func checkpoints(_ steps: Int) -> [Int] {
    let even = (0...50).map { $0 * steps / 50 }
    let early = (1...6).map { steps >> (2 * $0) / 3 } + [steps / 25, steps / 75, steps / 35]
    return Set(even + early).sorted()
  }

  /// The part of some images that a model recognises, with running statistics.
  func accuracy(_ model: Model, on data: TrainingData, lanes: Lanes) throws -> Double {
    try Evaluator(model, batchSize: 250, lanes: lanes).evaluate(data).accuracy
  }

  /// A small convolutional network: 3 × 3 convolutions, four at two resolutions unless others are given,
  /// each with what `unit` puts behind it, and a dense layer.
  ///
  /// - Parameters:
  ///   - layers: the convolutions.
  ///   - bias: whether convolutions have biases, which batch norm makes useless.
  ///   - unit: the normalisation and activation behind a convolution.
  ///   - head: what comes before the last layer.
  func convolutionalGraph(
    _ layers: [(filters: Int, stride: Int)] = [(8, 2), (16, 1), (32, 2), (32, 1)], bias: Bool,
    unit: (Graph.Value) -> Graph.Value,
    head: (Graph.Value) -> Graph.Value = { $0 }
  ) throws -> Graph {
    try Graph(input: inputType) { x in
      var x = x
      for (filters, stride) in layers {
        x = unit(x.convolution(filters, kernel: 3, stride: stride, bias: bias))
      }
      return head(x.flatten()).dense(train.classCount)
    }
  }

  static let convolutionalText = "four 3×3 convolutions of 8 to 32 filters and a dense layer"
}

/// The values below which parts of some numbers lie, by linear interpolation between neighbours.
func percentiles(_ values: [Float], _ parts: [Double]) -> [Double] {
  let sorted = values.sorted()
  guard let last = sorted.indices.last else { return parts.map { _ in .nan } }
  return parts.map { part in
    let position = part * Double(last)
    let (below, above) = (Int(position), min(Int(position) + 1, last))
    let weight = position - Double(below)
    return Double(sorted[below]) * (1 - weight) + Double(sorted[above]) * weight
  }
}
