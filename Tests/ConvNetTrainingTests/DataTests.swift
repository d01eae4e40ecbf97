import ConvNetEngine
import ConvNetGraph
import ConvNetTraining
import Testing

@Suite struct DataTests {
  /// Two images of 2 × 3 × 2, numbered through.
  func data(_ elementType: ElementType = .float32) throws -> TrainingData {
    let images = Tensor((0..<24).map { Float($0) }, shape: [2, 2, 3, 2])
    return try TrainingData(
      images: images.converted(to: elementType), labels: [0, 1], classCount: 2)
  }

  func assemble(
    _ data: TrainingData, _ samples: [Int], normalization: Normalization? = nil,
    augmentation: Augmentation? = nil, epoch: EpochKey? = nil, lanes: Int = 1
  ) throws -> [Float] {
    let assembler = try BatchAssembler(
      data: data, normalization: normalization, augmentation: augmentation)
    let count = data.images.count / data.count
    var output = [Float](repeating: .nan, count: samples.count * count)
    let lanes = try Lanes(count: lanes)
    try output.withUnsafeMutableBufferPointer {
      try assembler.assemble(samples[...], into: $0, in: epoch, lanes: lanes)
    }
    return output
  }

  @Test func mistakesAreSentences() throws {
    let images = Tensor(zeros: [2, 2, 2, 1], elementType: .uint8)
    for (images, labels, classes) in [
      (images, [Int64(0)], 2), (images, [0, 2], 2), (images, [0, -1], 2),
      (Tensor(zeros: [2, 4]), [0, 0], 2),
      (Tensor(zeros: [2, 2, 2, 1], elementType: .int64), [0, 0], 2),
    ] {
      #expect(throws: TrainingError.self) {
        try TrainingData(images: images, labels: labels, classCount: classes)
      }
    }
    #expect(throws: TrainingError.self) {
      try BatchAssembler(
        data: data(), normalization: Normalization(mean: [0], standardDeviation: [1]))
    }
    #expect(throws: TrainingError.self) { try Normalization(mean: [0], standardDeviation: [0]) }
  }

  /// Channel 0 holds 0, 2, …, 22 and channel 1 one more; the variance of 0..<12 is 143/12.
  @Test func normalizationIsMeasured() throws {
    let found = try data().measuredNormalization()
    #expect(found.scale == 1 && found.mean == [11, 12])
    let expected = 2 * (143.0 / 12).squareRoot()
    #expect(found.standardDeviation.allSatisfy { abs($0 - expected) <= 8 * expected.ulp })
    let bytes = try data(.uint8).measuredNormalization()
    #expect(bytes.scale == 1 / 255.0 && bytes.mean == [11 / 255.0, 12 / 255.0])
    let constant = try TrainingData(
      images: Tensor(repeating: Float(5), shape: [1, 2, 2, 1]), labels: [0], classCount: 1)
    #expect(try constant.measuredNormalization().standardDeviation == [1])
    let empty = try TrainingData(images: Tensor(zeros: [0, 2, 2, 1]), labels: [], classCount: 1)
    #expect(throws: TrainingError.self) { try empty.measuredNormalization() }
  }

  @Test func normalizationIsAppliedAsInTraining() throws {
    let normalization = try Normalization(
      scale: 0.5, mean: [1, -2], standardDeviation: [0.25, 3])
    for elementType in [ElementType.float32, .uint8] {
      let data = try data(elementType)
      let found = try normalization.applied(to: data.images)
      #expect(found.shape == data.images.shape)
      #expect(
        try found.elements(of: Float.self)
          == assemble(data, [0, 1], normalization: normalization))
    }
    for wrong in [
      Tensor(zeros: [2, 3]), Tensor(zeros: [2], elementType: .int64), Tensor(zeros: []),
    ] {
      #expect(throws: TrainingError.self) { try normalization.applied(to: wrong) }
    }
  }

  @Test func normalizationStaysWithTheModel() throws {
    var model = try Model(initializing: Network.lenet.graph(), seed: 1)
    #expect(model.normalization == nil)
    let normalization = try Normalization(
      scale: 1 / 255, mean: [0.1, 1 / 3], standardDeviation: [0.2, 1e-7])
    model.normalization = normalization
    #expect(model.normalization == normalization)
    model.metadata["preprocessing.mean"] = "1 x"
    #expect(model.normalization == nil)
    model.normalization = nil
    #expect(model.metadata.isEmpty)
  }

  @Test func batchesAreNormalized() throws {
    let swapped = (Array(12..<24) + Array(0..<12)).map { Float($0) }
    #expect(try assemble(data(), [1, 0]) == swapped)
    let normalization = try Normalization(
      scale: 0.5, mean: [1, 2], standardDeviation: [0.25, 0.5])
    let expected: [Float] = [-4, -3, 0, -1, 4, 1, 8, 3, 12, 5, 16, 7]
    for type in [ElementType.float32, .uint8] {
      #expect(try assemble(data(type), [0], normalization: normalization) == expected)
    }
    let scale = Float(1 / 255.0)
    let scaled = (0..<12).map { Float($0) * scale }
    #expect(try assemble(data(.uint8), [0]) == scaled)
  }

  @Test func changesMoveAndMirror() throws {
    let augmentation = Augmentation(horizontalFlip: true, shift: 1)
    let image = try assemble(data(), [1])
    var seen: Set<Augmentation.Change> = []
    for epoch in 0..<200 {
      let key = EpochKey(seed: 4, epoch: epoch)
      let change = augmentation.change(sample: 1, random: Augmentation.random(key))
      seen.insert(change)
      let found = try assemble(data(), [1], augmentation: augmentation, epoch: key)
      for h in 0..<2 {
        for w in 0..<3 {
          for c in 0..<2 {
            let (fromH, fromW) = (h + change.dy, w + change.dx)
            let isInside = (0..<2).contains(fromH) && (0..<3).contains(fromW)
            let column = change.mirrors ? 2 - fromW : fromW
            let expected = isInside ? image[(fromH * 3 + column) * 2 + c] : 0
            #expect(found[(h * 3 + w) * 2 + c] == expected, "epoch \(epoch), \(change)")
          }
        }
      }
    }
    #expect(seen.count == 18, "every change comes up in 200 epochs: \(seen.count)")
    #expect(try assemble(data(), [1], augmentation: augmentation) == image)
  }

  @Test func lanesDoNotMatter() throws {
    let count = 37
    let images = Tensor(
      (0..<count * 1024).map { UInt8(truncatingIfNeeded: $0 &* 7) }, shape: [count, 32, 32, 1])
    let data = try TrainingData(
      images: images, labels: [Int64](repeating: 0, count: count), classCount: 1)
    let (order, epoch) = (Array((0..<count).reversed()), EpochKey(seed: 1, epoch: 2))
    let found = try [1, 2].map {
      try assemble(data, order, augmentation: .light, epoch: epoch, lanes: $0)
    }
    #expect(found[0] == found[1])
  }

  @Test func orderIsAPermutationOfSeedAndEpoch() throws {
    let data = try TrainingData(
      images: Tensor(zeros: [100, 1, 1, 1]), labels: [Int64](repeating: 0, count: 100),
      classCount: 1)
    let order = data.order(of: EpochKey(seed: 1, epoch: 3))
    #expect(order.sorted() == Array(0..<100))
    #expect(order == data.order(of: EpochKey(seed: 1, epoch: 3)))
    #expect(
      order != data.order(of: EpochKey(seed: 1, epoch: 4))
        && order != data.order(of: EpochKey(seed: 2, epoch: 3)))
    #expect(data.stepCount(batchSize: 32) == 3)
    #expect(data.stepCount(batchSize: 32, remainder: .keep) == 4)
    #expect(data.stepCount(batchSize: 50, remainder: .keep) == 2)
    #expect(try data.prefix(7).count == 7)
  }
}
