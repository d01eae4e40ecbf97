import ConvNetFormats
import ConvNetGraph
import ConvNetImages
import ConvNetTraining
import Testing

@Suite struct ImageClassifierTests {
  /// Logits are the means of the red, green and blue channel, times 8.
  func model(softmax: Bool = false) throws -> Model {
    let graph = try Graph(input: .image(height: 4, width: 4, channels: 3)) { x in
      let y = x.globalAveragePooling().dense(3, bias: false)
      return softmax ? y.softmax() : y
    }
    let weights = Tensor([8, 0, 0, 0, 8, 0, 0, 0, 8] as [Float], shape: [3, 3])
    return try Model(graph: graph, parameters: ["dense1.weight": weights], state: [:])
  }

  @Test func classesComeByProbability() throws {
    var model = try model()
    model.normalization = .scaling(.uint8, channels: 3)
    model.imagePreprocessing = try ImagePreprocessing(height: 4)
    model.classNames = ["red", "green", "blue"]
    let classifier = try ImageClassifier(model)
    #expect(classifier.treatment.assumptions.isEmpty)
    let folder = try PhotoFolder(["1.png": plain([51, 255, 0], height: 20, width: 13)])
    let guesses = try classifier.classify(folder.path + "/1.png")
    #expect(guesses.map(\.name) == ["green", "red", "blue"] && guesses.map(\.index) == [1, 0, 2])
    // Logits 1.6, 8 and 0.
    let powers = [1.6, 8, 0].map { exponential($0) }
    let expected = [1, 0, 2].map { powers[$0] / powers.reduce(0, +) }
    for (guess, probability) in zip(guesses, expected) {
      #expect(abs(guess.probability - probability) < 1e-5)
    }
    #expect(throws: FileError.self) { try classifier.classify(folder.path + "/2.png") }
    #expect(throws: TrainingError.self) { try classifier.classify(plain([1, 2, 3])) }
  }

  /// e^x by its series.
  private func exponential(_ x: Double) -> Double {
    var (sum, term) = (1.0, 1.0)
    for n in 1...60 {
      term *= x / Double(n)
      sum += term
    }
    return sum
  }

  @Test func whatTheModelDoesNotSayIsAssumed() throws {
    var model = try model()
    var treatment = try model.imageTreatment()
    #expect(treatment.assumptions.count == 2)
    #expect(treatment.preprocessing == (try ImagePreprocessing(height: 4, shortSide: 4)))
    #expect(treatment.normalization == .imageNet)
    model.normalization = .scaling(.uint8, channels: 3)
    treatment = try model.imageTreatment()
    #expect(treatment.assumptions.count == 1 && treatment.normalization.mean == [0, 0, 0])
    let guesses = try ImageClassifier(model).classify(plain([0, 0, 9], height: 4, width: 4))
    #expect(guesses.map(\.name) == ["2", "0", "1"])
    #expect(throws: TrainingError.self) {
      try Model(
        graph: Graph(input: .features(2)) { $0.relu() }, parameters: [:], state: [:]
      ).imageTreatment()
    }
  }

  /// Probabilities stay as they are, and logits whose classes do not fit are refused.
  @Test func outputsAreLogitsOrProbabilities() throws {
    let image = plain([10, 200, 90], height: 4, width: 4)
    let logits = try ImageClassifier(model()).classify(image)
    let probabilities = try ImageClassifier(model(softmax: true)).classify(image)
    #expect(logits.map(\.index) == probabilities.map(\.index))
    for (one, other) in zip(logits, probabilities) {
      #expect(abs(one.probability - other.probability) < 1e-5)
    }
    var wrong = try model()
    wrong.classNames = ["a", "b"]
    #expect(throws: TrainingError.self) { try ImageClassifier(wrong).classify(image) }
  }

  @Test func preprocessingStaysWithTheModel() throws {
    var model = try model()
    #expect(model.imagePreprocessing == nil)
    for rule in [
      try ImagePreprocessing(height: 224), try ImagePreprocessing(height: 28, channels: 1),
      try ImagePreprocessing(height: 3, width: 5, channels: 1, shortSide: 9, filter: .bicubic),
    ] {
      model.imagePreprocessing = rule
      #expect(model.imagePreprocessing == rule)
    }
    #expect(try ImagePreprocessing(height: 224).shortSide == 256)
    #expect(try ImagePreprocessing(height: 28).shortSide == 28)
    for (key, value) in [
      ("image", "1 2"), ("image", "0 1 1"), ("image", "a b c"), ("short_side", "1"),
      ("short_side", "x"), ("filter", "nearest"),
    ] {
      var damaged = model
      damaged.metadata["preprocessing.\(key)"] = value
      #expect(damaged.imagePreprocessing == nil, "\(key) = \(value)")
    }
    model.imagePreprocessing = nil
    #expect(model.metadata.isEmpty)
  }

  /// The view of evaluation gives what resizing and cropping one after the other give.
  @Test func preparedImagesAreResizedAndCut() throws {
    let image = ramp(height: 37, width: 61)
    let folder = try PhotoFolder(["a/1.png": image])
    let rule = try ImagePreprocessing(height: 10, width: 12, shortSide: 14)
    let found = try ImageFolder(folder.path, preprocessing: rule)
      .withPixels(of: 0, in: nil) { Array($0) }
    let expected = try image.resized(shortSide: 14).centreCropped(height: 10, width: 12)
    let difference = zip(found, expected.bytes).map { abs(Int($0) - Int($1)) }.max()
    #expect(found.count == 360 && (difference ?? 9) <= 1)
  }
}
