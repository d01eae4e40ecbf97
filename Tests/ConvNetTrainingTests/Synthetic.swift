import ConvNetGraph
import ConvNetTraining

/// Images whose class is where they are bright: a band of columns for each class, over noise.
func bands(
  _ count: Int, size: Int, classes: Int, seed: UInt64, noise: Double = 0.5
) throws -> TrainingData {
  let random = Philox(seed: seed, purpose: "bands")
  var pixels: [Float] = []
  var labels: [Int64] = []
  for sample in 0..<count {
    let label = Int(random.word(UInt64(sample)) % UInt32(classes))
    labels.append(Int64(label))
    for index in 0..<size * size {
      let position = UInt64(count + sample * size * size + index)
      let isBright = index % size * classes / size == label
      pixels.append(Float((isBright ? 1 : 0) + noise * (2 * random.uniform(position) - 1)))
    }
  }
  return try TrainingData(
    images: Tensor(pixels, shape: [count, size, size, 1]), labels: labels, classCount: classes)
}

/// A small normalised network for such images.
func smallNetwork(size: Int, classes: Int, dropout: Double? = nil) throws -> Graph {
  try Graph(input: .image(height: size, width: size, channels: 1)) { x in
    let y = x.convolution(8, kernel: 3, bias: false).batchNormalization().relu()
      .maxPooling(kernel: 2).flatten()
    return (dropout.map { y.dropout($0) } ?? y).dense(classes)
  }
}
