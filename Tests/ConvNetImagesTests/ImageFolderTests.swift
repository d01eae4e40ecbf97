import ConvNetFormats
import ConvNetGraph
import ConvNetImages
import ConvNetTraining
import Glibc
import Testing

@Suite struct ImageFolderTests {
  func open(
    _ folder: PhotoFolder, _ name: String = "", size: Int = 4, channels: Int = 3,
    unreadable: UnreadablePolicy = .error
  ) throws -> ImageFolder {
    try ImageFolder(
      folder.path + name, preprocessing: ImagePreprocessing(height: size, channels: channels),
      unreadable: unreadable)
  }

  func pixels(_ source: any ImageSource, _ sample: Int, _ epoch: EpochKey? = nil) throws -> [UInt8]
  {
    try source.withPixels(of: sample, in: epoch) { Array($0) }
  }

  /// The paths below the folder.
  func names(_ images: ImageFolder, _ folder: PhotoFolder) -> [String] {
    (0..<images.count).map { String(images.path(of: $0).dropFirst(folder.path.count + 1)) }
  }

  @Test func classesAndFilesAreSortedByBytes() throws {
    let image = plain([1, 2, 3])
    let folder = try PhotoFolder([
      "a/2.png": image, "a/10.PNG": image, "a/deep/er/1.png": image, "B/x.jpeg": image,
      "ä/y.jpg": image, "a/.hidden.png": image, ".git/z.png": image, "stray.png": image,
      "a/.cache/1.png": image,
    ])
    try folder.add([1, 2], "a/notes.txt")
    try folder.add([1, 2], "a/png")
    let images = try open(folder)
    #expect(images.classNames == ["B", "a", "ä"])
    #expect(images.labels == [0, 1, 1, 1, 2])
    #expect(
      names(images, folder) == ["B/x.jpeg", "a/10.PNG", "a/2.png", "a/deep/er/1.png", "ä/y.jpg"])
    #expect(images.imageShape == [4, 4, 3] && images.elementType == .uint8 && !images.isInMemory)
    #expect(try pixels(images, 0) == plain([1, 2, 3], height: 4, width: 4).bytes)
  }

  @Test func pathsAreBytesAndLinksAreFollowed() throws {
    let folder = try PhotoFolder(["a/1.png": plain([10]), "b/2.png": plain([20])])
    folder.makeFolders(["a", "more"])
    try folder.add(plain([30]), "a/more/3.png")
    // Not UTF-8.
    let strange = Array("\(folder.path)/b/".utf8) + [0xff, 0xfe] + Array(".png".utf8)
    let name = strange.map { CChar(bitPattern: $0) } + [0]
    #expect(rename("\(folder.path)/b/2.png", name) == 0)
    folder.link("a/loop", to: "..")
    folder.link("a/more/loop", to: ".")
    folder.link("a/again", to: "more")
    folder.link("c", to: "b")
    folder.link("a/file.png", to: "1.png")
    folder.link("a/nowhere.png", to: "nothing")
    let images = try open(folder, channels: 1, unreadable: .skip)
    #expect(images.classNames == ["a", "b", "c"])
    // “a/loop” leads to the folder with all classes, which belongs to none of them.
    #expect(!names(images, folder).contains { $0.contains("loop") })
    #expect(names(images, folder).contains("a/again/3.png"))
    #expect(!names(images, folder).contains("a/more/3.png"))
    let first = try #require(names(images, folder).firstIndex { $0.hasPrefix("b/\u{FFFD}") })
    #expect(try pixels(images, first) == [UInt8](repeating: 20, count: 16))
    #expect(names(images, folder).contains { $0.hasPrefix("c/\u{FFFD}") })
    let dangling = try #require(names(images, folder).firstIndex(of: "a/nowhere.png"))
    #expect(throws: UnreadableSample.self) { try pixels(images, dangling) }
    #expect(images.unreadable.map(\.code) == [.missing])
  }

  @Test func trainingDrawsFromSeedEpochAndSample() throws {
    let folder = try PhotoFolder(["a/1.png": ramp(height: 40, width: 50)])
    try folder.add(ramp(height: 40, width: 50), "a/2.png")
    let images = try open(folder, size: 8)
    let epoch = EpochKey(seed: 3, epoch: 0)
    let one = try pixels(images, 0, epoch)
    #expect(try pixels(open(folder, size: 8), 0, epoch) == one)
    #expect(try pixels(images, 1, epoch) != one)
    #expect(try pixels(images, 0, EpochKey(seed: 3, epoch: 1)) != one)
    #expect(try pixels(images, 0, EpochKey(seed: 4, epoch: 0)) != one)
    #expect(try pixels(images, 0) == pixels(images, 1))
    // A choice of samples draws what the whole draws.
    let second = try pixels(images, 1, epoch)
    #expect(try pixels(ImageSubset(images, [1]), 0, epoch) == second)
  }

  @Test func mistakesAreSentences() throws {
    let folder = try PhotoFolder(["full/a/1.png": plain([1]), "bare/1.png": plain([1])])
    folder.makeFolders(["empty"])
    folder.makeFolders(["hollow", "b"])
    folder.makeFolders(["hollow", "a"])
    try folder.add([1], "hollow/b/x.webp")
    try folder.add(plain([1]), "hollow/a/1.png")
    for (name, code, text, place) in [
      ("nothing", FileError.Code.missing, "no such folder", ""),
      ("bare/1.png", .unreadable, "a file, not a folder", ""),
      ("empty", .mismatched, "a folder for each class, and this has none", ""),
      ("bare", .mismatched, "its 1 images lie in it without a class", ""),
      ("hollow", .mismatched, "no JPEG or PNG files, but 1 other files", "/b"),
    ] {
      let path = "\(folder.path)/\(name)"
      expectError(code, text, at: path + place) { _ = try open(folder, "/" + name) }
    }
    #expect(throws: TrainingError.self) {
      try ImageFolder(
        folder.path + "/full", preprocessing: ImagePreprocessing(height: 4),
        crop: RandomResizedCrop(areas: 0...1))
    }
    for make in [
      { try ImagePreprocessing(height: 0) }, { try ImagePreprocessing(height: 4, channels: 2) },
      { try ImagePreprocessing(height: 4, width: 8, shortSide: 7) },
      { try ImagePreprocessing(height: 1 << 20) },
    ] {
      #expect(throws: TrainingError.self) { try make() }
    }
  }

  /// Broken files of class a: 2 and 4 of 1…4; all of class b.
  private func damaged() throws -> PhotoFolder {
    let folder = try PhotoFolder([
      "a/1.png": plain([1]), "a/3.png": plain([3]), "c/1.png": plain([7]),
    ])
    try folder.add([], "a/2.png")
    try folder.add(Array(plain([4]).pngBytes().dropLast(20)), "a/4.png")
    try folder.add([0xff, 0xd8, 0xff, 0], "b/1.png")
    return folder
  }

  @Test func unreadableFilesAreAnErrorThatNamesThem() throws {
    let folder = try damaged()
    let images = try open(folder, channels: 1)
    for epoch in [nil, EpochKey(seed: 0, epoch: 0)] {
      expectError(.truncated, "empty", at: "\(folder.path)/a/2.png") {
        _ = try pixels(images, 1, epoch)
      }
    }
    #expect(images.unreadable.isEmpty)
  }

  @Test func unreadableFilesAreSkippedAndReportedOnce() throws {
    let folder = try damaged()
    let epoch = EpochKey(seed: 0, epoch: 0)
    // In whatever order samples are asked for, the next readable image of the class takes the place.
    for order in [[0, 1, 2, 3], [3, 1, 0, 2, 3, 1]] {
      let images = try open(folder, channels: 1, unreadable: .skip)
      for sample in order {
        let level: UInt8 = [1, 3, 3, 1][sample]
        #expect(try pixels(images, sample, epoch) == [UInt8](repeating: level, count: 16))
      }
      expectError(.unreadable, "none of the 1 images", at: folder.path) {
        _ = try pixels(images, 4, epoch)
      }
      for _ in 0..<2 {
        for sample in [1, 3, 4] {
          #expect(throws: UnreadableSample.self) { try pixels(images, sample) }
        }
      }
      #expect(
        images.unreadable.map(\.path)
          == ["a/2.png", "a/4.png", "b/1.png"].map {
            "\(folder.path)/\($0)"
          })
    }
  }

  @Test func measuresAreOfReadableImages() throws {
    let folder = try damaged()
    let images = try open(folder, channels: 1, unreadable: .skip)
    let found = try images.measuredNormalization()
    // 1, 3 and 7 over as many pixels: mean 11/3, variance 59/3 − 121/9 = 56/9.
    #expect(found.scale == 1 / 255.0)
    #expect(abs(found.mean[0] - 11 / 3.0 / 255) < 1e-15)
    #expect(abs(found.standardDeviation[0] - (56 / 9.0).squareRoot() / 255) < 1e-15)
    let sample = try images.sample(2)
    // Of six files the first, third and fifth, and of two the first and fourth.
    #expect(sample.labels == [0, 0])
    #expect(try pixels(images.sample(3), 1) == [UInt8](repeating: 3, count: 16))
  }

  /// Evaluation leaves unreadable images out, training goes on with others, to the same bits however
  /// many threads read.
  @Test func foldersTrainToTheSameBits() throws {
    let folder = try PhotoFolder()
    for index in 0..<24 {
      let level = UInt8(10 * index)
      try folder.add(
        plain(index % 2 == 0 ? [level, 0, 0] : [0, level, 0], height: 10 + index % 3),
        index % 2 == 0 ? "red/\(index).png" : "green/\(index).png")
    }
    try folder.add([1, 2, 3], "red/broken.png")
    let graph = try Graph(input: .image(height: 8, width: 8, channels: 3)) { x in
      x.convolution(4, kernel: 3, bias: false).batchNormalization().relu()
        .globalAveragePooling().dense(2)
    }
    var models: [Model] = []
    for threads in [1, 2, 5] {
      let images = try open(folder, size: 8, unreadable: .skip)
      let trainer = try Trainer(
        model: Model(initializing: graph, seed: 1), optimizer: .sgd(SGD(learningRate: 0.1)),
        batchSize: 5, seed: 2)
      trainer.loading = Loading(threads: threads)
      let reports = try trainer.run(
        epochs: 2, data: images, validation: images, remainder: .merge)
      #expect(reports[1].samples == 25)
      #expect(images.unreadable.map(\.path) == ["\(folder.path)/red/broken.png"])
      #expect(try Evaluator(trainer.model).evaluate(images).count == 24)
      models.append(trainer.model)
    }
    for model in models { #expect(model.parameters == models[0].parameters) }
    for model in models { #expect(model.state == models[0].state) }
  }
}
