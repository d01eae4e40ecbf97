import ConvNet
import ConvNetExperiments
import Testing

/// The sample layer's equivalent in plain tensors.
@Suite struct SampleLayerTests {
  static let options = BatchNormalizationOptions(epsilon: 0, decay: .keepOld(0.5))

  @Test func normalizesWithTheBatchThenWithMovingStatistics() throws {
    var variables = SampleVariables(Self.options)
    // Of 1 and 3: mean 2, variance 1, unbiased 2. Of 0 and 8: mean 4, variance 16, unbiased 32.
    let x = Tensor([Float(1), 0, 3, 8], shape: [2, 2])
    let (y, update) = try batchNormalizationLayer(
      x, numOutputs: 2, isTraining: true, scope: "conv1", in: &variables)
    #expect(y.doubles == [-1, -1, 1, 1])
    #expect(variables.layers["conv1"]?.moving.mean.doubles == [0, 0], "nothing moves by itself")
    variables.apply(try #require(update))
    // Half of 0 and 1, half of the batch's.
    let moving = try #require(variables.layers["conv1"]?.moving)
    #expect(moving.mean.doubles == [1, 2])
    #expect(moving.variance.doubles == [1.5, 16.5])
    #expect(moving.updateCount == 1)
    let (z, none) = try batchNormalizationLayer(
      x, numOutputs: 2, isTraining: false, scope: "conv1", in: &variables)
    #expect(none == nil)
    // (3 − 1)/√1.5 and (8 − 2)/√16.5, in float32.
    let expected = [2 / 1.5.squareRoot(), 6 / 16.5.squareRoot()]
    for (value, exact) in zip(z.doubles[2...], expected) {
      #expect(abs(value - exact) <= 4 * exact * Double(Float.ulpOfOne))
    }
  }

  @Test func scaleAndShiftAreTheLearnedOnes() throws {
    var variables = SampleVariables(Self.options)
    variables.layers["a"] = SampleVariables.Layer(channels: 1)
    variables.layers["a"]?.gamma = Tensor([Float(3)])
    variables.layers["a"]?.beta = Tensor([Float(10)])
    let x = Tensor([Float(1), 3], shape: [2, 1])
    let (y, _) = try batchNormalizationLayer(
      x, numOutputs: 1, isTraining: true, scope: "a", in: &variables)
    #expect(y.doubles == [7, 13])
    // Another scope has variables of its own.
    let (z, _) = try batchNormalizationLayer(
      x, numOutputs: 1, isTraining: true, scope: "b", in: &variables)
    #expect(z.doubles == [-1, 1])
  }

  @Test func refusesOtherChannels() throws {
    var variables = SampleVariables()
    let x = Tensor(zeros: [2, 3])
    #expect(throws: GraphError.self) {
      try batchNormalizationLayer(
        x, numOutputs: 4, isTraining: true, scope: "a", in: &variables)
    }
    _ = try batchNormalizationLayer(
      x, numOutputs: 3, isTraining: true, scope: "a", in: &variables)
    #expect(throws: GraphError.self) {
      try batchNormalizationLayer(
        Tensor(zeros: [2, 4]), numOutputs: 4, isTraining: true, scope: "a", in: &variables)
    }
  }

  @Test func namesEveryArgumentOfTheSample() {
    let names = SampleLayer.names
    let first = names.rows.map { $0[0] }
    for argument in ["input", "num_outputs", "is_training", "scope", "gamma, beta", "relu6"] {
      #expect(first.contains(argument))
    }
    for row in names.rows { #expect(row.count == names.headings.count) }
  }
}
