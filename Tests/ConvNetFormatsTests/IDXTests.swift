import CConvNetZlib
import ConvNetFormats
import ConvNetGraph
import Glibc
import Testing

@Suite struct IDXTests {
  @Test func readsPlainAndCompressedFiles() throws {
    try withFolder { folder in
      let data = (0..<24).map(UInt8.init)
      let expected = Tensor(data, shape: [2, 3, 4])
      try write(idx([2, 3, 4], data), to: folder + "/plain")
      try gzip(idx([2, 3, 4], data), to: folder + "/packed")
      #expect(try IDX.read(folder + "/plain") == expected)
      #expect(try IDX.read(folder + "/packed") == expected)
      // Two members one after the other are one stream, RFC 1952, section 2.2.
      let whole = idx([2, 3, 4], data)
      try gzip(Array(whole[..<20]), to: folder + "/first")
      try gzip(Array(whole[20...]), to: folder + "/second")
      try write(
        try bytes(of: folder + "/first") + bytes(of: folder + "/second"), to: folder + "/both")
      #expect(try IDX.read(folder + "/both") == expected)
      try write(idx(type: 0x0c, [2], [0, 0, 1, 0, 255, 255, 255, 254]), to: folder + "/int32")
      #expect(try IDX.read(folder + "/int32") == Tensor([256, -2] as [Int32]))
      try write(idx(type: 0x0e, [1], [0x3f, 0xf0, 0, 0, 0, 0, 0, 0]), to: folder + "/double")
      #expect(try IDX.read(folder + "/double") == Tensor([1] as [Double]))
    }
  }

  @Test func roomGrowsWithLongData() throws {
    try withFolder { folder in
      // More than the first room of 16 MiB, twice, of few compressed bytes.
      let count = 40_000_001
      try gzip(idx([count], [UInt8](repeating: 7, count: count)), to: folder + "/a")
      let tensor = try IDX.read(folder + "/a")
      #expect(tensor.shape == [count])
      tensor.withElements { (elements: Span<UInt8>) in
        for index in [0, 1 << 24 - 1, 1 << 24, 1 << 25 - 1, 1 << 25, count - 1] {
          #expect(elements[index] == 7, "element \(index)")
        }
      }
    }
  }

  @Test func refusesWhatIsNotInOrder() throws {
    try withFolder { folder in
      let path = folder + "/a"
      let good = idx([2, 2], [1, 2, 3, 4])
      func refused(_ code: FileError.Code, _ text: String, _ bytes: [UInt8]) throws {
        try write(bytes, to: path)
        expectError(code, text) { _ = try IDX.read(path) }
      }
      try refused(.mismatched, "not an IDX file", Array("P5 2 2 255".utf8))
      try refused(.unsupported, "type 11", idx(type: 0x0b, [1], [0, 0]))
      try refused(.unsupported, "type 9", idx(type: 0x09, [1], [0]))
      try refused(.unsupported, "dimensions", idx([Int](repeating: 1, count: 65), [1]))
      try refused(.malformed, "impossible", idx([Int](repeating: 1 << 31, count: 3), []))
      try refused(.truncated, "more than the file can hold", idx([2, 3], [1, 2, 3, 4]))
      try refused(.malformed, "more than", good + [5])

      try gzip(good, to: path)
      let packed = try bytes(of: path)
      try refused(.malformed, "other bytes follow", packed + Array("garbage".utf8))
      try refused(.truncated, "end early", Array(packed.dropLast(3)))
      var wrong = packed
      wrong[wrong.count - 8] ^= 1
      try refused(.malformed, "incorrect data check", wrong)
      try gzip(good + [5], to: path)
      expectError(.malformed, "more than") { _ = try IDX.read(path) }
      try gzip(Array(good.dropLast()), to: path)
      expectError(.truncated, "the file holds 3") { _ = try IDX.read(path) }
      // A few bytes that declare 4 GB are refused before any room is made for them.
      try gzip(idx([1 << 16, 1 << 16], []), to: path)
      expectError(.truncated, "more than the file can hold") { _ = try IDX.read(path) }
    }
  }

  @Test func damagedFilesAreRefusedOrRead() throws {
    try withFolder { folder in
      let plain = idx([2, 3], [1, 2, 3, 4, 5, 6])
      try damage(plain, in: folder) { _ = try IDX.read($0) }
      try gzip(plain, to: folder + "/a")
      try damage(try bytes(of: folder + "/a"), in: folder) { _ = try IDX.read($0) }
    }
  }

  /// The four files of a folder, some of which a test replaces.
  private func fill(_ folder: String, replacing: [String: [UInt8]] = [:]) throws {
    var files = [
      "train-images-idx3-ubyte": idx([3, 2, 2], (0..<12).map(UInt8.init)),
      "train-labels-idx1-ubyte": idx([3], [0, 2, 1]),
      "t10k-images-idx3-ubyte": idx([1, 2, 2], [9, 8, 7, 6]),
      "t10k-labels-idx1-ubyte": idx([1], [3]),
    ]
    files.merge(replacing) { $1 }
    for (name, bytes) in files {
      if name.hasPrefix("t10k") {
        try write(bytes, to: "\(folder)/\(name)")
      } else {
        try gzip(bytes, to: "\(folder)/\(name).gz")
      }
    }
  }

  @Test func loadsAFolder() throws {
    try withFolder { folder in
      try fill(folder)
      let data = try IDXFolder.load(folder)
      #expect(data.train.images == Tensor((0..<12).map(UInt8.init), shape: [3, 2, 2, 1]))
      #expect(data.train.labels == [0, 2, 1])
      #expect(data.test.count == 1)
      #expect(data.test.classNames == ["0", "1", "2", "3"])
      expectError(.mismatched, "a label 2 is none of the classes 0 to 1") {
        _ = try IDXFolder.load(folder, classNames: ["cat", "dog"])
      }
    }
  }

  @Test(arguments: [
    ("train-images-idx3-ubyte", idx([3], [0, 1, 2]), "holds labels, not images"),
    ("train-labels-idx1-ubyte", idx([3, 1, 1], [0, 1, 2]), "holds images, not labels"),
    ("train-labels-idx1-ubyte", idx([2], [0, 1]), "2 labels do not fit the 3 images"),
    ("train-images-idx3-ubyte", idx([0, 2, 2], []), "no images"),
    ("t10k-images-idx3-ubyte", idx([1, 2, 1], [0, 1]), "training images are [2, 2, 1]"),
    ("t10k-labels-idx1-ubyte", idx(type: 0x0c, [1], [0, 0, 3, 232]), "a label 1000"),
    ("t10k-labels-idx1-ubyte", idx(type: 0x0c, [1], [255, 255, 255, 255]), "a label -1"),
  ])
  func refusesMislabelledFiles(name: String, contents: [UInt8], text: String) throws {
    try withFolder { folder in
      try fill(folder, replacing: [name: contents])
      expectError(.mismatched, text) { _ = try IDXFolder.load(folder) }
    }
  }

  @Test func aMissingDataSetSaysWhatToInstall() throws {
    try withFolder { folder in
      expectError(.missing, "apt-get install dataset-fashion-mnist") {
        _ = try FashionMNIST.load(directory: folder + "/absent")
      }
      expectError(.missing, "absent: there is no such folder") {
        _ = try IDXFolder.load(folder + "/absent")
      }
      expectError(.missing, "train-images-idx3-ubyte: there is neither") {
        _ = try FashionMNIST.load(directory: folder)
      }
    }
  }

  @Test(.enabled(if: access(FashionMNIST.debianDirectory, F_OK) == 0))
  func loadsFashionMNIST() throws {
    let data = try FashionMNIST.load()
    #expect(data.train.images.shape == [60000, 28, 28, 1])
    #expect(data.test.images.shape == [10000, 28, 28, 1])
    for part in [data.train, data.test] {
      let perClass = part.labels.reduce(into: [Int](repeating: 0, count: 10)) { $0[Int($1)] += 1 }
      #expect(perClass == [Int](repeating: part.count / 10, count: 10))
      #expect(part.classNames[9] == "Ankle boot")
    }
    #expect(data.train.labels.prefix(5) == [9, 0, 0, 3, 0])
  }
}
