/// What a run knows besides its trainer; part of a checkpoint.
struct RunState: Hashable, Sendable, Codable {
  /// Steps of the current epoch so far; all of them while validation is still to come.
  var step = 0
  /// Loss and confusion of the current epoch.
  var epoch: Evaluation
  /// Seconds spent on the current epoch.
  var seconds = 0.0
  /// The epochs before.
  var reports: [EpochReport] = []
  /// How validation went.
  var course = ValidationCourse()

  init(classCount: Int) { epoch = Evaluation(classCount: classCount) }

  /// Goes on to the next epoch.
  mutating func startEpoch() {
    step = 0
    epoch = Evaluation(classCount: epoch.confusion.count)
    seconds = 0
  }
}

/// The time that steps take, without what happens between epochs.
struct RunClock {
  /// Steps of this process, and the seconds they took.
  private(set) var steps = 0
  private(set) var seconds = 0.0
  private let clock = ContinuousClock()
  private var last: ContinuousClock.Instant

  init() { last = clock.now }

  /// Begins to measure; what happened since the last step does not count.
  mutating func restart() { last = clock.now }

  /// Ends a step.
  ///
  /// - Returns: the seconds since the step before, or since the clock was started again.
  mutating func endStep() -> Double {
    let now = clock.now
    let passed = (now - last) / .seconds(1)
    last = now
    steps += 1
    seconds += passed
    return passed
  }
}
