import ConvNetFormats
public import ConvNetTraining

/// The parts of a folder of photographs: what to learn from, and what to measure a model on.
///
/// A folder with a folder `train`, one of `val`, `valid` and `validation`, and perhaps `test`, each with a
/// folder for each class, is taken as it is. Where `train` stands alone or with `test` only, or the folder
/// has the classes themselves, a part of the images to learn from is kept for validation, chosen by a hash
/// of each file's path, so that a file stays where it is when others come or go.
public struct ImageFolderSplits: Sendable {
  /// What to learn from; nil where all images are for validation.
  public let train: ImageFolder?
  /// What to measure a model on while it learns.
  public let validation: ImageFolder?
  /// What to measure a model on at the end.
  public let test: ImageFolder?
  /// Whether validation is a part of the training folder that was chosen by hash.
  public let isSplitByHash: Bool

  /// Whether a path looks like such a folder: there are folders in it, or images, or nothing.
  public static func isRecognized(_ path: String) -> Bool {
    guard let entries = try? FolderListing.entries(Array(path.utf8)) else { return false }
    return entries.isEmpty || entries.contains { $0.folder != nil || ImageFiles.isImage($0.name) }
  }

  /// Finds the files of all parts.
  ///
  /// - Parameters:
  ///   - path: the folder.
  ///   - preprocessing: the size and channels of images.
  ///   - crop: what a training draws of each image.
  ///   - unreadable: what becomes of files that cannot be read.
  ///   - share: the part of the images that is kept for validation where no folder is there for it,
  ///     0 to 1.
  /// - Throws: `FileError` where a folder cannot be read, has no classes or an empty one, or where the
  ///   parts have classes that training does not know; `TrainingError` where `share` or `crop` is outside
  ///   its range, or `share` leaves a part without images.
  public init(
    _ path: String, preprocessing: ImagePreprocessing,
    crop: RandomResizedCrop = RandomResizedCrop(), unreadable: UnreadablePolicy = .error,
    validation share: Double = 0.1
  ) throws {
    guard (0...1).contains(share) else {
      throw TrainingError(
        .invalidOption, "the part of the images for validation is 0 to 1, not \(share)")
    }
    try crop.check()
    func folder(_ files: ImageFiles) -> ImageFolder {
      ImageFolder(files, preprocessing: preprocessing, crop: crop, unreadable: unreadable)
    }
    let root = Array(path.utf8)
    let names = try FolderListing.entries(root).filter { $0.folder != nil }.map(\.name)
    func has(_ name: String) -> Bool { names.contains(Array(name.utf8)) }
    let validations = ["val", "valid", "validation"].filter(has)
    let isSplit = has("train") && (names.count == 1 || !validations.isEmpty || has("test"))
    func below(_ name: String) -> [UInt8] { root + Array("/\(name)".utf8) }
    let all = try ImageFiles(isSplit ? below("train") : root)
    func part(_ name: String?) throws -> ImageFolder? {
      try name.map {
        folder(try ImageFiles(below($0), classNames: all.classNames, allowsEmpty: true))
      }
    }
    test = try part(isSplit && has("test") ? "test" : nil)
    if let given = try part(isSplit ? validations.first : nil) {
      (train, validation, isSplitByHash) = (folder(all), given, false)
      return
    }
    guard share > 0 else {
      (train, validation, isSplitByHash) = (folder(all), nil, false)
      return
    }
    let split = try share < 1 ? HashSplit(validation: share) : nil
    let held = (0..<all.count).map {
      split?.isValidation(FolderListing.shown(Array(all.relativePath($0)))) ?? true
    }
    let (kept, rest) = (all.filter { !held[$0] }, all.filter { held[$0] })
    guard kept.count > 0 || share == 1, rest.count > 0 else {
      throw TrainingError(
        .invalidData,
        "\(path): \(all.count) images are too few to keep \(share) of them for validation")
    }
    train = kept.count > 0 ? folder(kept) : nil
    validation = folder(rest)
    isSplitByHash = true
  }
}

extension ImageFolder {
  /// The same images for a model whose classes have these names.
  ///
  /// Classes are matched by name. Where none of the names is the same and there are as many classes, they
  /// are taken to be in the same order.
  ///
  /// - Throws: `FileError` naming a class that the model does not know.
  public func matching(classNames names: [String]) throws -> ImageFolder {
    guard !names.isEmpty, names != classNames else { return self }
    let places = classNames.map { name in names.firstIndex(of: name) }
    let isKnown = places.contains { $0 != nil }
    guard isKnown || names.count != classCount else { return self }
    if let unknown = places.firstIndex(where: { $0 == nil }) {
      throw FileError(
        .mismatched, "the model does not know the class, it knows \(Self.shown(names))",
        at: FolderListing.shown(files.root), place: classNames[unknown])
    }
    let relabelled = files.relabelled(
      places.compactMap { $0 }, classNames: names.map { Array($0.utf8) })
    return ImageFolder(
      relabelled, preprocessing: imagePreprocessing, crop: crop, unreadable: policy, found: found)
  }

  private static func shown(_ names: [String]) -> String {
    let start = names.prefix(10).joined(separator: ", ")
    return names.count > 10 ? "\(start) and \(names.count - 10) others" : start
  }
}
