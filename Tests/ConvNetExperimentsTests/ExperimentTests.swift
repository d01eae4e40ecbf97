import ConvNet
import ConvNetExperiments
import Foundation
import Testing

/// Every experiment on a few small images, and how results are made of numbers.
@Suite struct ExperimentTests {
  /// Images of noise, each class brighter in a column of its own.
  private static func data(_ count: Int, seed: UInt64) throws -> TrainingData {
    let (size, classes) = (8, 4)
    let random = Philox(seed: seed, stream: 0)
    let labels = (0..<count).map { Int64($0 % classes) }
    let pixels = (0..<count * size * size).map { index -> UInt8 in
      let isBright = index % size == Int(labels[index / (size * size)])
      return UInt8(truncatingIfNeeded: random.word(UInt64(index)) % 128 + (isBright ? 128 : 0))
    }
    return try TrainingData(
      images: Tensor(pixels, shape: [count, size, size, 1]), labels: labels, classCount: classes)
  }

  private static func context(lanes: Int = 1, seeds: [UInt64] = [1]) throws -> ExperimentContext {
    try ExperimentContext(
      scale: .tiny, seeds: seeds, train: data(48, seed: 1), test: data(24, seed: 2),
      dataName: "noise", lanes: Lanes(count: lanes))
  }

  private static func json(_ result: ExperimentResult) throws -> Data {
    let encoder = JSONEncoder()
    encoder.outputFormatting = .sortedKeys
    encoder.nonConformingFloatEncodingStrategy = .convertToString(
      positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
    return try encoder.encode(result)
  }

  @Test(arguments: Experiments.all.map(\.name))
  func givesAResult(name: String) throws {
    let experiment = try #require(Experiments.named(name))
    let result = try experiment.run(Self.context())
    #expect(result.name == name)
    #expect(!result.claim.text.isEmpty && !result.claim.source.isEmpty)
    #expect(!result.table.rows.isEmpty)
    #expect(result.table.rows.allSatisfy { $0.count == result.table.headings.count })
    #expect(!result.verdict.checks.isEmpty)
    #expect(result.verdict.sentence.hasPrefix(result.verdict.outcome.rawValue))
    #expect(result.figures.allSatisfy { !$0.series.isEmpty })
    #expect(result.svg().hasPrefix("<svg"))
    let decoder = JSONDecoder()
    decoder.nonConformingFloatDecodingStrategy = .convertFromString(
      positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
    let data = try Self.json(result)
    #expect(try Self.json(decoder.decode(ExperimentResult.self, from: data)) == data)
  }

  @Test func repeatsToTheBitOnAnyNumberOfLanes() throws {
    let results = try [1, 2, 3].map {
      try Self.json(ConvergenceExperiment().run(Self.context(lanes: $0, seeds: [7, 8])))
    }
    #expect(results[0] == results[1] && results[0] == results[2])
  }

  @Test func namesAreDifferent() {
    #expect(Set(Experiments.all.map(\.name)).count == Experiments.all.count)
  }

  private struct Failing: Experiment {
    var name: String { "failing" }
    var claim: Claim { Claim("It fails.", source: "here") }

    func run(_ context: ExperimentContext) throws -> ExperimentResult {
      throw TrainingError(.invalidData, "there is nothing to be measured")
    }
  }

  @Test func oneThatFailsTakesNoOtherWithIt() throws {
    var (shown, failed): ([String], [String]) = ([], [])
    Experiments.run([Failing(), DenseExperiment()], in: try Self.context()) {
      shown.append($0.name)
    } fail: { name, error in
      failed.append("\(name): \(error)")
    }
    #expect(shown == ["dense"])
    #expect(failed == ["failing: there is nothing to be measured"])
  }

  @Test func jobsComeBackInOrderAndErrorsComeOut() throws {
    let context = try Self.context(lanes: 3, seeds: [5, 6])
    let values = try context.forEachSeed(of: [10, 20, 30]) { $0 + Int($1) + $2.count - 1 }
    #expect(values == [[15, 16], [25, 26], [35, 36]])
    #expect(throws: TrainingError.self) {
      try context.map([1, 2, 3]) { job, _ in
        if job == 2 { throw TrainingError(.invalidData, "two") }
      }
    }
    #expect(throws: TrainingError.self) { try Self.context(seeds: []) }
  }

  // MARK: Numbers

  @Test func samplesKnowMeanAndSpread() {
    let sample = Sample([1, 2, 6])
    #expect(sample.mean == 3)
    #expect(sample.spread == 7.0.squareRoot())
    #expect(Sample([5]).spread == 0)
    #expect(sample.text(1) == "3.0 ± 2.6")
    #expect(Sample([5]).text(0, unit: "steps") == "5 steps")
    #expect(Sample([0.5, 0.5]).percent == "50.00 ± 0.00 %")
    #expect(abs(Sample([1, 100]).geometricMean - 10) < 1e-12)
  }

  @Test func differencesHaveToExceedChance() {
    // Standard error of the difference: √(1/3 + 1/3) = 0.816; twice that is 1.633.
    let base = Sample([0, 1, 2])
    #expect(Sample([1.7, 2.7, 3.7]).isClearlyAbove(base))
    #expect(!Sample([1.6, 2.6, 3.6]).isClearlyAbove(base))
    #expect(!Sample([1.7, 2.7, 3.7]).isClearlyAbove(base, by: 0.1))
    #expect(!base.isClearlyAbove(base))
    #expect(Sample([2]).isClearlyAbove(Sample([1])))
    #expect(!Sample([.nan]).isClearlyAbove(base))
  }

  @Test func verdictsFollowFromChecks() {
    func verdict(_ outcomes: Bool...) -> Verdict {
      Verdict(outcomes.enumerated().map { .init("number \($0.offset)", $0.element) })
    }
    #expect(verdict(true, true).sentence == "Held: number 0; number 1.")
    #expect(
      verdict(false, true).sentence == "Held in part: number 1; against the claim, number 0.")
    #expect(verdict(false).sentence == "Did not hold: number 0.")
    #expect(verdict(true, false).outcome == .heldInPart)
  }
}
