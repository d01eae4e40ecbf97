/// Operations that need extents or values before they are operations: extents as data, and attributes
/// that are computed, as ONNX models have them.
///
/// When a graph gets concrete shapes, `Graph.resolved` follows the values that depend on extents alone and
/// replaces each of these by constants and operations with attributes; no executor meets one.
package enum Deferred: Hashable, Sendable, Codable {
  /// Like x: its extents from `start` up to and without `end` (nil: to the last), int64 `[k]`; negative
  /// positions count from the back, and both are cut to the rank (ONNX `Shape`).
  case extents(start: Int, end: Int?)
  /// x and extents, int64 `[r]`: −1 is the rest, and 0 keeps the operand's extent unless it counts as 0.
  case reshape(allowsZero: Bool)
  /// x and extents, int64 `[r]`: `Broadcast`.
  case broadcast
  /// Extents, int64 `[r]`: one number everywhere.
  case fill(Constant)
  /// x, starts, ends, axes and steps, all int64 `[k]`: ranges cut to the axes as in NumPy.
  case slice
  /// x and paddings, int64 `[2r]`, before all axes and after all axes; negative ones cut.
  case pad(Pad.Mode)
  /// x and sizes, int64 `[k]`, of the axes in the attributes.
  case resize([Resize])
  /// x and repeats, int64 `[r]`.
  case tile
  /// Start, limit and step, numbers of one type: the numbers from start on, before the limit.
  case range

  package var name: String {
    switch self {
    case .extents: "extents"
    case .reshape: "deferredReshape"
    case .broadcast: "deferredBroadcast"
    case .fill: "deferredFill"
    case .slice: "deferredSlice"
    case .pad: "deferredPad"
    case .resize: "deferredResize"
    case .tile: "tile"
    case .range: "range"
    }
  }
}
