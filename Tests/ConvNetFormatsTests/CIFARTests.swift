import ConvNetFormats
import ConvNetGraph
import Testing

@Suite struct CIFARTests {
  /// A picture whose bytes say where they are: channel, row and column.
  func picture(_ number: Int) -> [UInt8] {
    (0..<3).flatMap { c in
      (0..<1024).map { UInt8(truncatingIfNeeded: 80 * c + 3 * ($0 / 32) + 7 * ($0 % 32) + number) }
    }
  }

  func expectPicture(_ number: Int, at index: Int, of images: Tensor) {
    let planes = picture(number)
    images.withElements { (pixels: Span<UInt8>) in
      let wrong = (0..<3072).first {
        pixels[index * 3072 + $0] != planes[$0 % 3 * 1024 + $0 / 3]
      }
      #expect(wrong == nil, "picture \(number) differs")
    }
  }

  func fillTen(_ folder: String) throws {
    for batch in 1...5 {
      let records = (0..<batch).flatMap { [UInt8(batch + $0)] + picture(10 * batch + $0) }
      try write(records, to: "\(folder)/data_batch_\(batch).bin")
    }
    try write([9] + picture(77), to: folder + "/test_batch.bin")
  }

  @Test func readsTenClasses() throws {
    try withFolder { folder in
      #expect(!CIFARFolder.recognizes(folder))
      try fillTen(folder)
      #expect(CIFARFolder.recognizes(folder))
      let data = try CIFARFolder.load(folder)
      #expect(data.train.images.shape == [15, 32, 32, 3] && data.test.count == 1)
      #expect(data.train.labels == [1, 2, 3, 3, 4, 5, 4, 5, 6, 7, 5, 6, 7, 8, 9])
      #expect(data.test.labels == [9] && data.test.classNames == CIFARFolder.classNames)
      expectPicture(10, at: 0, of: data.train.images)
      expectPicture(54, at: 14, of: data.train.images)
      expectPicture(77, at: 0, of: data.test.images)
      let names = (0..<10).map { "class \($0)" }
      try write(
        Array(names.joined(separator: "\r\n").utf8) + [10, 10], to: folder + "/batches.meta.txt")
      #expect(try CIFARFolder.load(folder).train.classNames == names)
      try write(Array("cat\ndog".utf8), to: folder + "/batches.meta.txt")
      expectError(.mismatched, "2 names do not fit 10") { _ = try CIFARFolder.load(folder) }
      try write([0xff, 0xfe], to: folder + "/batches.meta.txt")
      expectError(.malformed, "no list of names") { _ = try CIFARFolder.load(folder) }
    }
  }

  @Test func readsHundredClassesAndTheirGroups() throws {
    try withFolder { folder in
      // More than one block of records.
      let records = (0..<70).flatMap { [UInt8($0 % 20), UInt8($0)] + picture($0) }
      try write(records, to: folder + "/train.bin")
      try write([19, 99] + picture(1), to: folder + "/test.bin")
      let fine = try CIFARFolder.load(folder)
      #expect(fine.train.labels == (0..<70).map(Int64.init) && fine.test.labels == [99])
      #expect(fine.test.classNames[99] == "99")
      for index in [0, 63, 64, 69] { expectPicture(index, at: index, of: fine.train.images) }
      let names = (0..<20).map { "group \($0)\n" }.joined()
      try write(Array(names.utf8), to: folder + "/coarse_label_names.txt")
      let coarse = try CIFARFolder.load(folder, coarse: true)
      #expect(coarse.train.labels.prefix(21).suffix(2) == [19, 0])
      #expect(coarse.test.classNames[19] == "group 19")
    }
  }

  @Test func refusesWhatIsNotInOrder() throws {
    try withFolder { folder in
      try fillTen(folder)
      func refused(_ code: FileError.Code, _ text: String, _ bytes: [UInt8]) throws {
        try write(bytes, to: folder + "/data_batch_3.bin")
        expectError(code, text) { _ = try CIFARFolder.load(folder) }
      }
      try refused(.truncated, "data_batch_3.bin: the file is empty", [])
      try refused(.truncated, "3072 bytes are no whole number", picture(0))
      try refused(.truncated, "3074 bytes are no whole number", [1, 2] + picture(0))
      try refused(
        .malformed, "label 10 of its record 1 is none of 10",
        [9] + picture(0) + [10] + picture(1))
      try write([20, 99] + picture(0), to: folder + "/a")
      expectError(.malformed, "label 20 of its record 0 is none of 20") {
        _ = try CIFAR.read([folder + "/a"], labels: .fine)
      }
      try write([19, 100] + picture(0), to: folder + "/a")
      expectError(.malformed, "label 100") {
        _ = try CIFAR.read([folder + "/a"], labels: .coarse)
      }
      expectError(.missing, "data_batch_6") {
        _ = try CIFAR.read([folder + "/data_batch_6.bin"], labels: .ten)
      }
      expectError(.unreadable, "a folder") { _ = try CIFAR.read([folder], labels: .ten) }
      #expect(try CIFAR.read([], labels: .ten).images.shape == [0, 32, 32, 3])
    }
  }
}
