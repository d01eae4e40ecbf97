import Glibc

/// The learning rate over time: a factor for every step, as a pure function of the step's number.
///
/// The optimiser's learning rate is the largest; a schedule multiplies it by a factor, usually in [0, 1]. With a
/// warm-up of w steps, the factor of step t < w is (t + 1)/w times the schedule's own first factor
/// (Goyal et al. 2017, section 2.2), and the schedule proper starts at step w.
public struct Schedule: Hashable, Sendable {
  /// The course after the warm-up.
  public enum Course: Hashable, Sendable {
    /// 1 throughout.
    case constant
    /// `factor`^⌊t/every⌋.
    case step(every: Int, factor: Double)
    /// floor + (1 − floor)·(1 + cos πt/T)/2 for t < T, then `floor` (Loshchilov & Hutter 2017, eq. 5).
    case cosine(steps: Int, floor: Double)
    /// From `start` up to 1 during the fraction `rise` of T steps, then down to `end`, both along a
    /// cosine (Smith & Topin 2018).
    case oneCycle(steps: Int, rise: Double, start: Double, end: Double)
  }

  /// The course after the warm-up.
  public var course: Course
  /// Steps during which the factor grows linearly.
  public var warmUpSteps: Int

  /// Makes a schedule of a course and a warm-up.
  public init(_ course: Course, warmUpSteps: Int = 0) {
    self.course = course
    self.warmUpSteps = warmUpSteps
  }

  /// The optimiser's learning rate throughout.
  public static func constant(warmUpSteps: Int = 0) -> Schedule {
    Schedule(.constant, warmUpSteps: warmUpSteps)
  }

  /// The rate times `factor` after every so many steps.
  public static func step(every: Int, factor: Double = 0.1, warmUpSteps: Int = 0) -> Schedule {
    Schedule(.step(every: every, factor: factor), warmUpSteps: warmUpSteps)
  }

  /// Half a cosine down to `floor`; `steps` counts the warm-up too.
  public static func cosine(steps: Int, floor: Double = 0, warmUpSteps: Int = 0) -> Schedule {
    Schedule(.cosine(steps: steps - warmUpSteps, floor: floor), warmUpSteps: warmUpSteps)
  }

  /// Up and down again; `steps` counts the warm-up too.
  public static func oneCycle(
    steps: Int, rise: Double = 0.3, start: Double = 0.04, end: Double = 0, warmUpSteps: Int = 0
  ) -> Schedule {
    Schedule(
      .oneCycle(steps: steps - warmUpSteps, rise: rise, start: start, end: end),
      warmUpSteps: warmUpSteps)
  }

  /// Refuses courses whose factors could be negative or not finite.
  package func check() throws {
    func check(_ name: String, _ value: Double) throws {
      guard value >= 0, value.isFinite else {
        throw TrainingError(.invalidOption, "the \(name) of a schedule cannot be \(value)")
      }
    }
    switch course {
    case .constant: break
    case .step(_, let factor): try check("factor", factor)
    case .cosine(_, let floor): try check("floor", floor)
    case .oneCycle(_, let rise, let start, let end):
      try check("rise", rise)
      try check("start", start)
      try check("end", end)
    }
  }

  /// The factor of a step, counted from 0.
  public func factor(at step: Int) -> Double {
    if step < warmUpSteps {
      return courseFactor(at: 0) * Double(step + 1) / Double(warmUpSteps)
    }
    return courseFactor(at: step - max(warmUpSteps, 0))
  }

  private func courseFactor(at step: Int) -> Double {
    switch course {
    case .constant: return 1
    case .step(let every, let factor): return pow(factor, Double(step / max(every, 1)))
    case .cosine(let steps, let floor):
      guard step < steps else { return floor }
      return Self.cosine(from: 1, to: floor, at: Double(step) / Double(steps))
    case .oneCycle(let steps, let rise, let start, let end):
      guard step < steps else { return end }
      let top = rise * Double(steps)
      let t = Double(step)
      return t < top
        ? Self.cosine(from: start, to: 1, at: t / top)
        : Self.cosine(from: 1, to: end, at: (t - top) / (Double(steps) - top))
    }
  }

  /// Half a cosine between two values, at a fraction of the way.
  private static func cosine(from first: Double, to last: Double, at fraction: Double) -> Double {
    last + (first - last) * (1 + cos(.pi * fraction)) / 2
  }
}
