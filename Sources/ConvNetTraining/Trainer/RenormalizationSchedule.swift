/// How the bounds of batch renormalisation widen over a training (Ioffe 2017, section 4).
///
/// During `warmUpSteps` r_max = 1 and d_max = 0, which is plain batch norm; then both grow linearly.
public struct RenormalizationSchedule: Hashable, Sendable {
  /// The bounds of one step.
  public struct Limits: Hashable, Sendable {
    /// r_max ≥ 1.
    public var scale: Double
    /// d_max ≥ 0.
    public var shift: Double

    /// Makes bounds.
    public init(scale: Double, shift: Double) {
      self.scale = scale
      self.shift = shift
    }

    /// Those of plain batch norm: r = 1 and d = 0.
    public static let none = Limits(scale: 1, shift: 0)
  }

  /// Steps of plain batch norm.
  public var warmUpSteps: Int
  /// The step from which r_max is `limits.scale`.
  public var scaleSteps: Int
  /// The step from which d_max is `limits.shift`.
  public var shiftSteps: Int
  /// The bounds in the end.
  public var limits: Limits

  /// Makes a schedule; by default the paper's: 5000 steps of batch norm, r_max = 3 from step 40 000 and
  /// d_max = 5 from step 25 000 on.
  public init(
    warmUpSteps: Int = 5000, scaleSteps: Int = 40_000, shiftSteps: Int = 25_000,
    limits: Limits = Limits(scale: 3, shift: 5)
  ) {
    self.warmUpSteps = warmUpSteps
    self.scaleSteps = scaleSteps
    self.shiftSteps = shiftSteps
    self.limits = limits
  }

  /// The bounds of a step, counted from 0.
  public func limits(at step: Int) -> Limits {
    func part(_ end: Int) -> Double {
      guard step >= warmUpSteps else { return 0 }
      guard step < end, end > warmUpSteps else { return 1 }
      return Double(step - warmUpSteps) / Double(end - warmUpSteps)
    }
    return Limits(
      scale: 1 + (limits.scale - 1) * part(scaleSteps), shift: limits.shift * part(shiftSteps))
  }

  /// Refuses bounds below those of batch norm.
  func check() throws {
    guard limits.scale >= 1, limits.shift >= 0, limits.scale.isFinite, limits.shift.isFinite else {
      throw TrainingError(
        .invalidOption,
        "renormalisation bounds r_max \(limits.scale) and d_max \(limits.shift) are not at least 1 "
          + "and 0")
    }
  }
}
