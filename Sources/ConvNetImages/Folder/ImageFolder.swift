public import ConvNetFormats
public import ConvNetGraph
public import ConvNetTraining

/// Labelled photographs: a folder with a folder of JPEG and PNG files for each class.
///
///     let folder = try ImageFolder("flowers", preprocessing: ImagePreprocessing(height: 224))
///
/// Classes are sorted by the bytes of their names. Their folders may have folders again; symbolic links
/// are followed, and a folder is entered once for each class, so that links may lead in circles. Hidden
/// files and files with other endings than `.jpg`, `.jpeg` and `.png` are left alone.
///
/// Nothing but paths and labels is held: an image is read and decoded whenever it is asked for. In a
/// training a randomly resized crop, mirrored half of the time, is drawn from (seed, epoch, sample);
/// where a model is measured the short side is resized and the middle cut out.
public struct ImageFolder: ImageSource {
  let files: ImageFiles
  let found: UnreadableFiles
  /// How images are made ready where nothing is random.
  public let imagePreprocessing: ImagePreprocessing
  /// What a training draws of each image.
  public let crop: RandomResizedCrop
  /// What becomes of files that cannot be read.
  public let policy: UnreadablePolicy
  /// Where the files of each class lie.
  private let ranges: [Range<Int>]

  /// Finds the files of a folder; none is opened.
  ///
  /// - Parameters:
  ///   - path: the folder.
  ///   - preprocessing: the size and channels of images.
  ///   - crop: what a training draws of each image.
  ///   - unreadable: what becomes of files that cannot be read.
  /// - Throws: `FileError` where a folder cannot be read, there are no classes, or a class is empty;
  ///   `TrainingError` where `crop` is outside its range.
  public init(
    _ path: String, preprocessing: ImagePreprocessing,
    crop: RandomResizedCrop = RandomResizedCrop(), unreadable: UnreadablePolicy = .error
  ) throws {
    try crop.check()
    self.init(
      try ImageFiles(Array(path.utf8)), preprocessing: preprocessing, crop: crop,
      unreadable: unreadable)
  }

  init(
    _ files: ImageFiles, preprocessing: ImagePreprocessing, crop: RandomResizedCrop,
    unreadable: UnreadablePolicy, found: UnreadableFiles = UnreadableFiles()
  ) {
    self.files = files
    self.found = found
    imagePreprocessing = preprocessing
    self.crop = crop
    policy = unreadable
    var ranges = [Range<Int>](repeating: 0..<0, count: files.classNames.count)
    for (index, label) in files.labels.enumerated() {
      let range = ranges[Int(label)]
      ranges[Int(label)] = (range.isEmpty ? index : range.lowerBound)..<index + 1
    }
    self.ranges = ranges
  }

  /// The class of each image.
  public var labels: [Int64] { files.labels }
  /// The number of classes.
  public var classCount: Int { files.classNames.count }
  /// The names of the classes, as far as bytes are UTF-8; the end of a line in one is a space.
  public var classNames: [String] {
    files.classNames.map { FolderListing.shown($0).replacing("\n", with: " ") }
  }
  /// Bytes.
  public var elementType: ElementType { .uint8 }
  /// The shape of every image once it is ready, `[H, W, C]`.
  public var imageShape: Shape { imagePreprocessing.shape }
  /// Never: images are files.
  public var isInMemory: Bool { false }
  /// How images are made ready where nothing is random.
  public var preprocessing: ImagePreprocessing? { imagePreprocessing }

  /// A checksum of the files' names, and how images are made of them.
  public var identity: String {
    var checksum = Checksum()
    for sample in labels.indices {
      checksum.add(Array(files.relativePath(sample)))
    }
    return "files of checksum \(checksum.value), unreadable ones \(policy.rawValue), "
      + "\(imagePreprocessing), \(crop)"
  }

  /// The files that could not be read so far, each once, in the order of the samples.
  public var unreadable: [FileError] { found.all }

  /// The path of a sample's file, for messages: bytes that are not UTF-8 are shown as �.
  public func path(of sample: Int) -> String { FolderListing.shown(files.path(sample)) }

  /// Reads and decodes one image, and calls a closure with its pixels.
  ///
  /// - Throws: what `body` throws, and `FileError` where the file cannot be read. With the policy `.skip` it
  ///   is `UnreadableSample` where there is no epoch; in an epoch another image of the class is read, and
  ///   `FileError` says that none can be.
  public func withPixels<Result>(
    of sample: Int, in epoch: EpochKey?, _ body: (UnsafeRawBufferPointer) throws -> Result
  ) throws -> Result {
    let image = try image(of: sample, in: epoch)
    return try unsafe image.bytes.withUnsafeBytes { try unsafe body($0) }
  }

  /// The pixels of a sample.
  ///
  /// - Throws: `FileError`; `UnreadableSample` where the file is to be left out.
  func image(of sample: Int, in epoch: EpochKey?) throws -> PixelImage {
    guard policy == .skip else { return try read(sample, as: sample, in: epoch) }
    guard let epoch else {
      do { return try read(sample, as: sample, in: nil) } catch let error as FileError {
        found.note(sample, error)
        throw UnreadableSample(sample: sample, error.description)
      }
    }
    // Which files are readable does not depend on who asks first, so neither does the substitute.
    let range = ranges[Int(files.labels[sample])]
    for step in 0..<range.count {
      let candidate = range.lowerBound + (sample - range.lowerBound + step) % range.count
      guard found[candidate] == nil else { continue }
      do { return try read(candidate, as: sample, in: epoch) } catch let error as FileError {
        found.note(candidate, error)
      }
    }
    throw FileError(
      .unreadable, "none of the \(range.count) images of this class can be read",
      at: FolderListing.shown(files.root), place: classNames[Int(files.labels[sample])])
  }

  /// Decodes a file, with what is drawn for a sample.
  private func read(_ file: Int, as sample: Int, in epoch: EpochKey?) throws -> PixelImage {
    let path = files.path(file)
    let image = try ImageFile(FileReader(path, named: FolderListing.shown(path)))
    guard let epoch else { return try image.prepared(imagePreprocessing) }
    return try image.varied(
      imagePreprocessing, crop, sample: sample, random: epoch.random("crop"))
  }
}
