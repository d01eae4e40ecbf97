public import ConvNetEngine
public import ConvNetGraph
import ConvNetTraining
import Glibc

/// Tells what is on photographs, by a model made ready to answer.
///
///     let classifier = try ImageClassifier(ModelFile.load("flowers.safetensors"))
///     for guess in try classifier.classify("rose.jpg").prefix(5) {
///       print(guess.name, guess.probability)
///     }
///
/// Images are prepared as the model's metadata say, see `Model.imageTreatment()`. It may be used by several
/// threads at once, each image on the thread that brings it and the lanes.
public final class ImageClassifier: Sendable {
  /// A class with its probability.
  public struct Guess: Hashable, Sendable, Codable {
    /// The number of the class.
    public var index: Int
    /// Its name; its number where the model knows no names.
    public var name: String
    /// How likely the model takes it to be, in 0...1.
    public var probability: Double
  }

  /// What is done to images.
  public let treatment: ImageTreatment
  private let names: [String]
  private let predictor: Predictor

  /// Makes a model ready.
  ///
  /// - Throws: `TrainingError` where the model has no single input for images, `GraphError` where it
  ///   cannot be brought into inference form, `PlanError` as `Predictor.init`.
  public init(_ model: Model, options: PredictorOptions = PredictorOptions()) throws {
    treatment = try model.imageTreatment()
    names = model.classNames
    let shape = Shape([1] + treatment.preprocessing.shape.dimensions)
    predictor = try Predictor(model.fitting(images: shape), options: options)
  }

  /// Reads an image file and tells its class: all classes, the most likely first.
  ///
  /// - Throws: `FileError` where the file cannot be read as an image; as for a
  ///   `PixelImage` besides.
  public func classify(_ path: String) throws -> [Guess] {
    try classify(ImageFile(path).prepared(treatment.preprocessing))
  }

  /// Tells the class of an image that has the size and channels of the model's input already.
  ///
  /// - Throws: `TrainingError` where the image is of another shape, or the output is not one number for
  ///   each class (`.invalidData`) or not finite (`.notFinite`); `PlanError` or `GraphError` where the model
  ///   cannot take the image or has several outputs.
  public func classify(_ image: PixelImage) throws -> [Guess] {
    let wanted = treatment.preprocessing.shape
    let shape: Shape = [image.height, image.width, image.channels]
    guard shape == wanted else {
      throw TrainingError(.invalidData, "the model takes images \(wanted), not \(shape)")
    }
    let pixels = Tensor(image.bytes, shape: Shape([1] + shape.dimensions))
    let output = try predictor.predict(treatment.normalization.applied(to: pixels))
    let scores = output.doubles
    guard names.isEmpty || names.count == scores.count, !scores.isEmpty else {
      throw TrainingError(
        .invalidData, "the model's output \(output.shape) does not fit its \(names.count) classes")
    }
    guard scores.allSatisfy(\.isFinite) else {
      throw TrainingError(.notFinite, "the model's output is not finite")
    }
    return Self.probabilities(scores).enumerated()
      .map { index, probability in
        Guess(
          index: index, name: names.isEmpty ? "\(index)" : names[index], probability: probability)
      }
      .sorted { ($1.probability, $0.index) < ($0.probability, $1.index) }
  }

  /// The softmax of logits; numbers that are probabilities already stay as they are.
  private static func probabilities(_ scores: [Double]) -> [Double] {
    let sum = scores.reduce(0, +)
    if scores.allSatisfy({ $0 >= 0 }), abs(sum - 1) <= 1e-3 { return scores }
    let largest = scores.max() ?? 0
    let powers = scores.map { exp($0 - largest) }
    let total = powers.reduce(0, +)
    return powers.map { $0 / total }
  }
}
