import ConvNetFormats

/// The image files of a folder with a folder for each class: paths and labels, no pixels.
///
/// Paths lie behind one another in one array of bytes, some 40 bytes an image.
struct ImageFiles: Sendable {
  /// The folder.
  let root: [UInt8]
  /// The classes, sorted by the bytes of their names.
  private(set) var classNames: [[UInt8]]
  /// The class of each file; files of a class follow one another, sorted by their paths' bytes.
  private(set) var labels: [Int64] = []
  private var bytes: [UInt8] = []
  private var ends: [Int] = []

  /// File names that are taken for images, by what is behind their last point.
  private static let extensions: Set<String> = ["jpg", "jpeg", "png"]

  /// Finds the images of every class.
  ///
  /// - Parameters:
  ///   - root: the folder.
  ///   - classNames: the classes, in order; by default one for each folder.
  ///   - allowsEmpty: whether a class may be without images.
  /// - Throws: `FileError` where a folder cannot be read, a class has no images or is unknown.
  init(_ root: [UInt8], classNames: [[UInt8]]? = nil, allowsEmpty: Bool = false) throws {
    self.root = root
    let entries = try FolderListing.entries(root)
    let folders = entries.filter { $0.folder != nil }
    let shown = FolderListing.shown(root)
    guard !folders.isEmpty else {
      let images = entries.count { Self.isImage($0.name) }
      let found = images == 0 ? "this has none" : "its \(images) images lie in it without a class"
      throw FileError(
        .mismatched, "a folder of images has a folder for each class, and \(found)", at: shown)
    }
    self.classNames = classNames ?? folders.map(\.name)
    let places = Dictionary(
      zip(self.classNames, self.classNames.indices), uniquingKeysWith: { first, _ in first })
    let found = try folders.map { folder in
      guard let place = places[folder.name] else {
        throw FileError(
          .mismatched,
          "the class \(FolderListing.shown(folder.name)) is none of the "
            + "\(self.classNames.count) that are known", at: shown)
      }
      return (place: place, folder: folder)
    }
    for (place, folder) in found.sorted(by: { $0.place < $1.place }) {
      var visited = Set([FolderListing.folderID(root)].compactMap { $0 })
      let before = labels.count
      let others = try add(folder, in: [], class: Int64(place), &visited)
      guard labels.count > before || allowsEmpty else {
        let path = FolderListing.shown(root + [UInt8(ascii: "/")] + folder.name)
        let what = others == 0 ? "" : ", but \(others) other files"
        throw FileError(.mismatched, "this class has no JPEG or PNG files\(what)", at: path)
      }
    }
    guard !labels.isEmpty else {
      throw FileError(.mismatched, "there are no JPEG or PNG files in its classes", at: shown)
    }
  }

  /// Adds what lies in a folder and its folders, each of which is entered once, however many links lead
  /// to it; gives the number of files that are no images.
  private mutating func add(
    _ folder: FolderListing.Entry, in parent: [UInt8], class label: Int64,
    _ visited: inout Set<FolderListing.FolderID>
  ) throws -> Int {
    guard let id = folder.folder, visited.insert(id).inserted else { return 0 }
    let slash = [UInt8(ascii: "/")]
    let relative = parent.isEmpty ? folder.name : parent + slash + folder.name
    var others = 0
    for entry in try FolderListing.entries(root + slash + relative) {
      if entry.folder != nil {
        others += try add(entry, in: relative, class: label, &visited)
      } else if Self.isImage(entry.name) {
        bytes += relative + slash + entry.name
        ends.append(bytes.count)
        labels.append(label)
      } else {
        others += 1
      }
    }
    return others
  }

  /// Whether a file is taken for an image.
  static func isImage(_ name: [UInt8]) -> Bool {
    guard let point = name.lastIndex(of: UInt8(ascii: ".")) else { return false }
    return extensions.contains(
      String(decoding: name[(point + 1)...], as: UTF8.self).lowercased())
  }

  /// The number of files.
  var count: Int { labels.count }

  /// The path of a file below the folder.
  func relativePath(_ index: Int) -> ArraySlice<UInt8> {
    bytes[(index == 0 ? 0 : ends[index - 1])..<ends[index]]
  }

  /// The path of a file.
  func path(_ index: Int) -> [UInt8] { root + [UInt8(ascii: "/")] + relativePath(index) }

  /// The files that satisfy a condition on their index, in the same order.
  func filter(_ isIncluded: (Int) -> Bool) -> ImageFiles {
    var result = self
    (result.labels, result.bytes, result.ends) = ([], [], [])
    for index in 0..<count where isIncluded(index) {
      result.labels.append(labels[index])
      result.bytes += relativePath(index)
      result.ends.append(result.bytes.count)
    }
    return result
  }

  /// The same files with the classes at other places.
  ///
  /// - Parameter places: for each class of now its new number.
  func relabelled(_ places: [Int], classNames: [[UInt8]]) -> ImageFiles {
    var result = self
    result.classNames = classNames
    result.labels = labels.map { Int64(places[Int($0)]) }
    return result
  }
}
