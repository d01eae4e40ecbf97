import ConvNetFormats
import ConvNetImages
import ConvNetTraining
import Testing

@Suite struct ImageFolderSplitsTests {
  func splits(_ folder: PhotoFolder, validation: Double = 0.3) throws -> ImageFolderSplits {
    try ImageFolderSplits(
      folder.path, preprocessing: ImagePreprocessing(height: 4), validation: validation)
  }

  @Test func foldersOfPartsAreTakenAsTheyAre() throws {
    let image = plain([1])
    for (name, isTest) in [("val", false), ("valid", false), ("validation", false), ("test", true)]
    {
      let folder = try PhotoFolder([
        "train/a/1.png": image, "train/b/2.png": image, "\(name)/b/3.png": image,
      ])
      let parts = try splits(folder, validation: isTest ? 0 : 0.3)
      #expect(parts.train?.labels == [0, 1] && !parts.isSplitByHash)
      let other = try #require(isTest ? parts.test : parts.validation)
      #expect(other.labels == [1] && other.classNames == ["a", "b"])
      #expect((isTest ? parts.validation : parts.test) == nil)
    }
    let folder = try PhotoFolder([
      "train/a/1.png": image, "val/a/1.png": image, "test/a/1.png": image, "test/c/1.png": image,
    ])
    expectError(.mismatched, "the class c is none", at: folder.path + "/test") {
      _ = try splits(folder)
    }
  }

  /// A class may be called train.
  @Test func trainMayBeAClass() throws {
    let image = plain([1])
    let folder = try PhotoFolder(["train/1.png": image, "car/1.png": image])
    #expect(try splits(folder, validation: 0).train?.classNames == ["car", "train"])
  }

  @Test func filesStayWhereTheirPathsPutThem() throws {
    let folder = try PhotoFolder()
    for index in 0..<60 { try folder.add(plain([1]), "\(["a", "b"][index % 2])/\(index).png") }
    func held() throws -> Set<String> {
      let parts = try splits(folder)
      let (train, validation) = try (#require(parts.train), #require(parts.validation))
      #expect(parts.isSplitByHash && train.classNames == validation.classNames)
      let held = (0..<validation.count).map { validation.path(of: $0) }
      let kept = (0..<train.count).map { train.path(of: $0) }
      #expect(Set(held).isDisjoint(with: kept))
      return Set(held)
    }
    let before = try held()
    #expect((8...28).contains(before.count), "a share of 0.3 of 60 took \(before.count)")
    for index in 60..<80 { try folder.add(plain([1]), "a/\(index).png") }
    let after = try held()
    #expect(after.isSuperset(of: before))
    #expect(try splits(folder, validation: 1).train == nil)
    #expect(try splits(folder, validation: 1).validation?.count == 80)
    #expect(try splits(folder, validation: 0).validation == nil)
    #expect(throws: TrainingError.self) { try splits(folder, validation: 1.5) }
    #expect(throws: TrainingError.self) { try splits(folder, validation: .nan) }
    #expect(throws: TrainingError.self) { try splits(folder, validation: 1e-9) }
  }

  @Test func classesAreMatchedByName() throws {
    let image = plain([1])
    let folder = try PhotoFolder(["cat/1.png": image, "dog/1.png": image])
    let images = try ImageFolder(
      folder.path, preprocessing: ImagePreprocessing(height: 4))
    let matched = try images.matching(classNames: ["dog", "bird", "cat"])
    #expect(matched.labels == [2, 0] && matched.classCount == 3)
    #expect(try images.matching(classNames: []).labels == [0, 1])
    #expect(try images.matching(classNames: ["n01", "n02"]).labels == [0, 1])
    for names in [["cat", "bird"], ["n01", "n02", "n03"]] {
      #expect(throws: FileError.self) { try images.matching(classNames: names) }
    }
  }
}
