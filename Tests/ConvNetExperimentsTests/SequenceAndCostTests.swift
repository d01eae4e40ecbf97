import ConvNet
import ConvNetExperiments
import Testing

/// What is particular about the experiments on sequences and on cost.
@Suite struct SequenceAndCostTests {
  /// Images whose brighter half gives the class away.
  static func data(_ count: Int, seed: UInt64) throws -> TrainingData {
    let size = 8
    let random = Philox(seed: seed, stream: 1)
    var bytes: [UInt8] = []
    for index in 0..<count {
      for pixel in 0..<size * size {
        let isBright = pixel * 4 / (size * size) == index % 4
        let noise = random.word(UInt64(index * size * size + pixel)) % 64
        bytes.append(UInt8(noise) + (isBright ? 128 : 0))
      }
    }
    return try TrainingData(
      images: Tensor(bytes, shape: [count, size, size, 1]),
      labels: (0..<count).map { Int64($0 % 4) }, classCount: 4)
  }

  static func context(seeds: [UInt64], python: String? = nil) throws -> ExperimentContext {
    try ExperimentContext(
      scale: .tiny, seeds: seeds, train: data(80, seed: 1), test: data(40, seed: 2),
      dataName: "synthetic", python: python)
  }

  @Test func sequencesRepeatToTheBit() throws {
    let experiment = try #require(Experiments.named("sequences"))
    let results = try (0..<2).map { _ in try experiment.run(Self.context(seeds: [3])) }
    #expect(results[0].table == results[1].table)
  }

  @Test func aPythonThatIsNotThereIsNoMistake() throws {
    let experiment = try #require(Experiments.named("cost"))
    let result = try experiment.run(Self.context(seeds: [1], python: "/nonexistent/python"))
    #expect(result.table.headings.contains { $0.contains("not found") })
  }

  @Test func tonesAreTheSameForASeed() throws {
    let tones = try ToneSet.make(count: 30, length: 64, seed: 5)
    let again = try ToneSet.make(count: 30, length: 64, seed: 5)
    #expect(tones.images == again.images)
    #expect(try tones.images != ToneSet.make(count: 30, length: 64, seed: 6).images)
    #expect(tones.labels == (0..<30).map { Int64($0 % 10) })
    #expect(tones.images.doubles.allSatisfy { $0.isFinite })
  }
}
