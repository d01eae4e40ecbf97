public import ConvNetGraph

/// Labelled images that are read one by one, from memory or from files, by several threads at once.
///
/// `TrainingData` holds them in memory. A source of files reads and decodes each image when it is asked
/// for it, so that a data set may be larger than memory.
public protocol ImageSource: Sendable {
  /// The class of each sample, in 0..<classCount; there are as many samples as labels.
  var labels: [Int64] { get }
  /// The number of classes.
  var classCount: Int { get }
  /// The names of the classes; empty where they have none.
  var classNames: [String] { get }
  /// What a pixel's channel is: uint8 or float32.
  var elementType: ElementType { get }
  /// The shape of every image, `[H, W, C]`.
  var imageShape: Shape { get }
  /// Whether the pixels are there already; those of other sources are read ahead of the step that
  /// learns from them.
  var isInMemory: Bool { get }
  /// How images of any size are made such as these.
  var preprocessing: ImagePreprocessing? { get }

  /// The mean and standard deviation of each channel, by which pixels are normalised unless told
  /// otherwise.
  ///
  /// - Throws: `TrainingError` where there are no pixels, or pixels that are not finite; `FileError` where
  ///   an image cannot be read.
  func measuredNormalization() throws -> Normalization

  /// What tells these samples from others of the same number, size and labels, so that a training does
  /// not go on with other images than it began with; empty by default.
  var identity: String { get }

  /// Calls a closure with the pixels of one sample, `imageShape` of `elementType`, not yet normalised.
  ///
  /// Called from several threads at once. The same sample in the same epoch gives the same pixels.
  ///
  /// - Parameters:
  ///   - sample: which one, in 0..<labels.count.
  ///   - epoch: the pass of a training, from which a source may draw a crop; nil where a model is
  ///     measured and nothing is random.
  ///   - body: reads the pixels, which are there while it runs.
  /// - Throws: what `body` throws, and `FileError` where a file cannot be read; `UnreadableSample` where
  ///   there is no epoch and the sample shall be left out instead of ending the pass.
  func withPixels<Result>(
    of sample: Int, in epoch: EpochKey?, _ body: (UnsafeRawBufferPointer) throws -> Result
  ) throws -> Result
}

/// A sample that cannot be had and is left out where a model is measured, which goes on without it.
public struct UnreadableSample: Error, Hashable, Sendable, CustomStringConvertible {
  /// Which one.
  public var sample: Int
  /// Why, as a sentence that names the file.
  public var description: String

  /// Makes an error.
  public init(sample: Int, _ description: String) {
    self.sample = sample
    self.description = description
  }
}

/// A pass of a training over its data, which everything random about its images is drawn from.
public struct EpochKey: Hashable, Sendable {
  /// The seed of the training.
  public var seed: UInt64
  /// The epoch, counted from 0.
  public var epoch: Int

  /// Names a pass.
  public init(seed: UInt64, epoch: Int) {
    self.seed = seed
    self.epoch = epoch
  }

  /// The generator of this pass for one purpose, such as “augmentation”.
  public func random(_ purpose: String) -> Philox {
    Philox(seed: seed, purpose: "\(purpose) of epoch \(epoch)")
  }
}

extension ImageSource {
  /// Nothing but labels, number and size.
  public var identity: String { "" }

  /// By default the short side becomes the longer side of `imageShape`, whose extents are cut out of the
  /// middle; nil where files have no such images, as with neither 1 nor 3 channels.
  public var preprocessing: ImagePreprocessing? {
    let shape = imageShape
    return try? ImagePreprocessing(
      height: shape[0], width: shape[1], channels: shape[2], shortSide: max(shape[0], shape[1]))
  }

  /// The number of samples.
  public var count: Int { labels.count }

  /// The shape of a batch.
  package func batchShape(_ count: Int) -> Shape { Shape([count] + imageShape.dimensions) }

  /// The number of channels.
  package var channels: Int { imageShape[2] }

  /// Steps of an epoch.
  public func stepCount(batchSize: Int, remainder: RemainderPolicy = .drop) -> Int {
    remainder.stepCount(of: count, batchSize: batchSize)
  }

  /// The order of an epoch's samples: a permutation drawn from (seed, epoch).
  package func order(of epoch: EpochKey) -> [Int] {
    epoch.random("order").permutation(count)
  }
}

extension TrainingData: ImageSource {
  /// What a pixel's channel is: uint8 or float32.
  public var elementType: ElementType { images.elementType }

  /// The shape of every image, `[H, W, C]`.
  public var imageShape: Shape { Shape(Array(images.shape.dimensions.dropFirst())) }

  /// Always: the images are in memory.
  public var isInMemory: Bool { true }

  /// Calls a closure with the pixels of one sample.
  ///
  /// - Throws: what `body` throws.
  public func withPixels<Result>(
    of sample: Int, in epoch: EpochKey?, _ body: (UnsafeRawBufferPointer) throws -> Result
  ) throws -> Result {
    let length = imageShape.count * elementType.byteCount
    return try images.withBytes { bytes in
      try body(UnsafeRawBufferPointer(rebasing: bytes[sample * length..<(sample + 1) * length]))
    }
  }
}
