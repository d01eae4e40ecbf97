/// How gradients are made smaller before they move anything, so that one bad batch cannot undo a training.
///
/// Clipping acts on the gradient of the whole batch, accumulated parts included, and before weight decay
/// is added. A gradient that is not finite is no case for it: such a step does not happen. A c that is not
/// above 0, or not finite, is refused by whoever takes the choice, with `TrainingError`.
public enum GradientClipping: Hashable, Sendable {
  /// All gradients are multiplied by c/‖g‖ where ‖g‖ > c, with ‖g‖ the Euclidean norm over all trainable
  /// parameters together (Pascanu, Mikolov & Bengio 2013, algorithm 1).
  case norm(Double)
  /// Every element is cut off at ±c.
  case value(Double)

  /// What gradients are multiplied by, and what their elements are cut off at before.
  ///
  /// - Parameter norm: of all gradients together.
  func factors(norm: Double?) -> (scale: Float, limit: Float) {
    switch self {
    case .value(let largest): (1, Float(largest))
    case .norm(let largest):
      if let norm, norm > largest { (Float(largest / norm), .infinity) } else { (1, .infinity) }
    }
  }

  /// Refuses numbers that no training can use.
  func check() throws {
    let (name, value) =
      switch self {
      case .norm(let value): ("norm", value)
      case .value(let value): ("value", value)
      }
    guard value > 0, value.isFinite else {
      throw TrainingError(
        .invalidOption, "gradients cannot be clipped to a \(name) of \(value), which is not above 0"
      )
    }
  }
}
