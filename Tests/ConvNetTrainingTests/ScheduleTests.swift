import ConvNetGraph
import ConvNetTraining
import Testing

@Suite struct ScheduleTests {
  /// Cosines of round angles are right to an ulp, and a factor takes three more roundings.
  static let bound = 4 * Double.ulpOfOne

  func expect(
    _ schedule: Schedule, gives factors: [Double], sourceLocation: SourceLocation = #_sourceLocation
  ) {
    for (step, factor) in factors.enumerated() {
      let found = schedule.factor(at: step)
      #expect(
        abs(found - factor) <= Self.bound, "step \(step): \(found), not \(factor)",
        sourceLocation: sourceLocation)
    }
  }

  @Test func refusesFactorsThatAreNone() throws {
    let model = try Model(initializing: Graph(input: .features(3)) { $0.dense(2) }, seed: 1)
    for schedule: Schedule in [
      .step(every: 2, factor: .nan), .step(every: 2, factor: -1),
      .cosine(steps: 4, floor: .infinity),
      .oneCycle(steps: 4, rise: -0.1), .oneCycle(steps: 4, start: .nan),
      .oneCycle(steps: 4, end: -1),
    ] {
      let error = #expect(throws: TrainingError.self) {
        try Trainer(model: model, optimizer: .sgd(SGD(learningRate: 0.1)), schedule: schedule)
      }
      #expect(error?.code == .invalidOption)
    }
  }

  @Test func constant() {
    expect(.constant(), gives: [1, 1, 1])
    expect(.constant(warmUpSteps: 4), gives: [0.25, 0.5, 0.75, 1, 1, 1])
  }

  @Test func steps() {
    expect(.step(every: 2, factor: 0.5), gives: [1, 1, 0.5, 0.5, 0.25, 0.25, 0.125])
    expect(.step(every: 2, factor: 0.5, warmUpSteps: 2), gives: [0.5, 1, 1, 1, 0.5, 0.5, 0.25])
  }

  @Test func cosine() {
    let eighth = 0.5.squareRoot()
    expect(.cosine(steps: 4), gives: [1, (1 + eighth) / 2, 0.5, (1 - eighth) / 2, 0, 0])
    expect(.cosine(steps: 2, floor: 0.5), gives: [1, 0.75, 0.5, 0.5])
    expect(.cosine(steps: 4, warmUpSteps: 2), gives: [0.5, 1, 1, 0.5, 0, 0])
  }

  @Test func oneCycle() {
    expect(
      .oneCycle(steps: 6, rise: 1 / 3, start: 0.1, end: 0.2),
      gives: [
        0.1, 0.55, 1, 0.8 * (1 + 0.5.squareRoot()) / 2 + 0.2, 0.6,
        0.8 * (1 - 0.5.squareRoot()) / 2 + 0.2, 0.2, 0.2,
      ])
    expect(
      .oneCycle(steps: 6, rise: 0.5, start: 0.5, warmUpSteps: 2),
      gives: [0.25, 0.5, 0.5, 0.75, 1, 0.5, 0])
  }
}
