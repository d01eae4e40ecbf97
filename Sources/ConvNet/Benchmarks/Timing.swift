/// How long something took, over several runs.
public struct Timing: Hashable, Sendable {
  /// The median, in seconds.
  public let median: Double
  /// The shortest, in seconds.
  public let minimum: Double
  /// What 99 of 100 runs do not exceed, in seconds: the nearest rank.
  public let percentile99: Double
  /// How many runs were measured.
  public let runs: Int

  /// Sums up the seconds of single runs; none stop the program.
  package init(seconds: [Double]) {
    let sorted = seconds.sorted()
    guard let first = sorted.first else { fatalError("A timing needs at least one run.") }
    let middle = sorted.count / 2
    median = sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
    minimum = first
    percentile99 = sorted[(99 * sorted.count + 99) / 100 - 1]
    runs = sorted.count
  }

  /// Measures several things that shall be compared.
  ///
  /// They take turns, in at least `rounds` rounds and at least `seconds` for each of them, because
  /// the speed of a shared machine changes from one moment to the next; what is short is run several
  /// times in its turn. Each runs once before anything is measured.
  public static func compare(
    rounds: Int = 5, seconds: Double = 2, _ bodies: [() -> Void]
  ) -> [Timing] {
    let clock = ContinuousClock()
    var times = [[Double]](repeating: [], count: bodies.count)
    for body in bodies { body() }
    let turn = seconds / Double(4 * max(rounds, 1))
    let start = clock.now
    var round = 0
    repeat {
      for (index, body) in bodies.enumerated() {
        let end = clock.now + .seconds(turn)
        repeat {
          let before = clock.now
          body()
          times[index].append((clock.now - before) / .seconds(1))
        } while clock.now < end
      }
      round += 1
    } while round < rounds
      || (clock.now - start) / .seconds(1) < seconds * Double(bodies.count)
    return times.map { Timing(seconds: $0) }
  }
}
