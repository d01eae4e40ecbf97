/// The course of a recipe's learning rate after its warm-up: a `Schedule` whose length is not known until
/// there are data.
public enum RateCourse: Hashable, Sendable {
  /// The same throughout.
  case constant
  /// Times `factor` after every so many epochs.
  case step(everyEpochs: Int, factor: Double)
  /// Half a cosine down to `floor`, as a fraction of the largest rate.
  case cosine(floor: Double)
  /// Up during the fraction `rise` of all steps, from `start`, and down again to `end`.
  case oneCycle(rise: Double, start: Double, end: Double)

  /// The name in a configuration.
  public var name: String {
    switch self {
    case .constant: "constant"
    case .step: "step"
    case .cosine: "cosine"
    case .oneCycle: "one-cycle"
    }
  }

  /// The courses by name, each with the numbers it has unless told otherwise.
  public static let known: [RateCourse] = [
    .constant, .step(everyEpochs: 30, factor: 0.1), .cosine(floor: 0),
    .oneCycle(rise: 0.3, start: 0.04, end: 0),
  ]

  /// The schedule of a training.
  ///
  /// - Parameters:
  ///   - epochs: of the whole training.
  ///   - stepsPerEpoch: with the data there are.
  ///   - warmUpSteps: the first steps, during which the rate grows linearly.
  public func schedule(epochs: Int, stepsPerEpoch: Int, warmUpSteps: Int) -> Schedule {
    let steps = epochs * stepsPerEpoch
    return switch self {
    case .constant: .constant(warmUpSteps: warmUpSteps)
    case .step(let everyEpochs, let factor):
      .step(every: everyEpochs * stepsPerEpoch, factor: factor, warmUpSteps: warmUpSteps)
    case .cosine(let floor): .cosine(steps: steps, floor: floor, warmUpSteps: warmUpSteps)
    case .oneCycle(let rise, let start, let end):
      .oneCycle(steps: steps, rise: rise, start: start, end: end, warmUpSteps: warmUpSteps)
    }
  }
}
