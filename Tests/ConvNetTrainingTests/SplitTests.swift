import ConvNetGraph
import ConvNetTraining
import Testing

@Suite struct SplitTests {
  @Test func noSampleChangesSidesWhenOthersCome() throws {
    let split = try HashSplit(validation: 0.2, seed: 3)
    let (small, large) = (split.parts(count: 500), split.parts(count: 1000))
    #expect(large.validation.filter { $0 < 500 } == small.validation)
    #expect((small.training + small.validation).sorted() == Array(0..<500))
    // Five standard deviations of 1000 draws: 5·√(0.16·1000) = 63.
    #expect(abs(large.validation.count - 200) < 63)
    #expect(
      try HashSplit(validation: 0.2, seed: 4).parts(count: 500).validation != small.validation)
    // A larger part holds the smaller one.
    let half = try HashSplit(validation: 0.5, seed: 3)
    #expect(Set(half.parts(count: 500).validation).isSuperset(of: small.validation))
  }

  @Test func namesDecideWhateverTheirOrder() throws {
    let split = try HashSplit(validation: 0.3, seed: 1)
    let names = (0..<1000).map { "cats/\($0).jpg" }
    let parts = split.parts(names: names)
    #expect(abs(parts.validation.count - 300) < 73)
    let backwards = split.parts(names: names.reversed())
    #expect(backwards.validation.map { 999 - $0 }.sorted() == parts.validation)
    #expect(parts.validation.allSatisfy { split.isValidation(names[$0]) })
  }

  @Test func dataAreSplit() throws {
    let data = try TrainingData(
      images: Tensor((0..<200).map { Float($0) }, shape: [100, 2, 1, 1]),
      labels: (0..<100).map { $0 % 5 }, classCount: 5)
    let (training, validation) = try data.split(validation: 0.25, seed: 9)
    let chosen = try HashSplit(validation: 0.25, seed: 9).parts(count: 100)
    #expect(training.count + validation.count == 100)
    #expect(validation.labels == chosen.validation.map { Int64($0 % 5) })
    #expect(
      validation.images.floats == chosen.validation.flatMap { [Float(2 * $0), Float(2 * $0 + 1)] })
    let some = try data.subset([7, 3, 7])
    #expect(some.images.floats == [14, 15, 6, 7, 14, 15] && some.labels == [2, 3, 2])
    #expect(try data.subset([]).count == 0)
  }

  @Test func mistakesAreSentences() throws {
    for part in [0, 1, -0.1, Double.nan] {
      #expect(throws: TrainingError.self) { try HashSplit(validation: part) }
    }
    let data = try TrainingData(
      images: Tensor(zeros: [1, 1, 1, 1]), labels: [0], classCount: 1)
    #expect(throws: TrainingError.self) { try data.split(validation: 0.5) }
    #expect(throws: TrainingError.self) { try data.subset([1]) }
    #expect(throws: TrainingError.self) { try data.subset([-1]) }
  }
}
