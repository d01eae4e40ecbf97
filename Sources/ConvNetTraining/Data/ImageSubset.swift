import ConvNetFormats
public import ConvNetGraph

/// Some samples of another source, in an order of their own, without a copy of their images.
///
/// Every sample keeps what is drawn for it there: crops and the like do not depend on the choice.
public struct ImageSubset: ImageSource {
  private let base: any ImageSource
  private let indices: [Int]
  /// The class of each sample.
  public let labels: [Int64]

  /// Chooses samples, each in 0..<base.count.
  ///
  /// An index outside stops the program.
  public init(_ base: any ImageSource, _ indices: [Int]) {
    let all = base.labels
    if let wrong = indices.first(where: { !all.indices.contains($0) }) {
      fatalError("There is no sample \(wrong) among \(all.count).")
    }
    self.base = base
    self.indices = indices
    labels = indices.map { all[$0] }
  }

  /// The number of classes, also of those without a sample here.
  public var classCount: Int { base.classCount }
  /// The names of the classes.
  public var classNames: [String] { base.classNames }
  /// What a pixel's channel is.
  public var elementType: ElementType { base.elementType }
  /// The shape of every image.
  public var imageShape: Shape { base.imageShape }
  /// Whether the pixels are there already.
  public var isInMemory: Bool { base.isInMemory }
  /// How images of any size are made such as these.
  public var preprocessing: ImagePreprocessing? { base.preprocessing }

  /// That of the other source, and which samples these are.
  public var identity: String {
    guard !base.identity.isEmpty else { return "" }
    var checksum = Checksum()
    indices.withUnsafeBytes { checksum.add($0) }
    return "\(base.identity), samples of checksum \(checksum.value)"
  }

  /// Calls a closure with the pixels of one sample.
  ///
  /// - Throws: as the other source does.
  public func withPixels<Result>(
    of sample: Int, in epoch: EpochKey?, _ body: (UnsafeRawBufferPointer) throws -> Result
  ) throws -> Result {
    try base.withPixels(of: indices[sample], in: epoch, body)
  }
}

extension ImageSource {
  /// At most `count` samples, spread evenly over the set, so that sets sorted by class are represented.
  ///
  /// - Throws: `TrainingError` where no sample is asked for.
  public func sample(_ count: Int) throws -> any ImageSource {
    guard count >= 1 else {
      throw TrainingError(.invalidOption, "a sample cannot have \(count) images")
    }
    guard count < self.count else { return self }
    return ImageSubset(self, (0..<count).map { $0 * self.count / count })
  }
}
