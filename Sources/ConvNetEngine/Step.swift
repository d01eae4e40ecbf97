/// A place in memory that a plan knows: an index into the workspace's table of pointers.
struct Buffer: Hashable, Sendable {
  var index: Int
}

/// What a step sees while it runs: where its buffers are, and scratch of its lane.
struct Context {
  /// The start of every buffer, by index.
  let pointers: UnsafePointer<UnsafeMutableRawPointer>
  /// Scratch of lane 0; that of lane l is `scratchStride` bytes · l further.
  let scratch: UnsafeMutableRawPointer
  let scratchStride: Int

  func floats(_ buffer: Buffer) -> UnsafeMutablePointer<Float> {
    pointers[buffer.index].assumingMemoryBound(to: Float.self)
  }

  func doubles(_ buffer: Buffer) -> UnsafeMutablePointer<Double> {
    pointers[buffer.index].assumingMemoryBound(to: Double.self)
  }

  func integers(_ buffer: Buffer) -> UnsafeMutablePointer<Int64> {
    pointers[buffer.index].assumingMemoryBound(to: Int64.self)
  }

  func raw(_ buffer: Buffer) -> UnsafeMutableRawPointer { pointers[buffer.index] }

  func doubleScratch(lane: Int) -> UnsafeMutablePointer<Double> {
    (scratch + lane * scratchStride).assumingMemoryBound(to: Double.self)
  }

  func scratch(lane: Int) -> UnsafeMutablePointer<Float> {
    (scratch + lane * scratchStride).assumingMemoryBound(to: Float.self)
  }
}

/// One parallel region of a plan.
///
/// The pieces depend on geometry alone, never on the number of lanes, and no piece reads what another
/// one of the same step writes; so the bits do not depend on who computes what.
protocol Step: AnyObject, Sendable {
  /// How many pieces the work is cut into.
  var pieces: Int { get }
  /// Scratch one lane needs, in bytes.
  var scratchByteCount: Int { get }
  /// Computes one piece; allocates nothing.
  func run(piece: Int, lane: Int, in context: Context)
}

extension Step {
  var scratchByteCount: Int { 0 }
}

/// Work over `count` items in pieces of `size`.
struct Pieces: Sendable {
  let total: Int
  let size: Int

  /// Cuts `total` items into pieces of about `size`, in multiples of `unit`.
  init(_ total: Int, size: Int, unit: Int = 1) {
    self.total = total
    self.size = max(unit, (size + unit - 1) / unit * unit)
  }

  /// Cuts panels of a filter into as many groups as it takes for 8 pieces of work, beside so many of rows.
  init(panels: Int, beside rows: Int) {
    let groups = rows >= 8 ? 1 : min(panels, (8 + rows - 1) / rows)
    self.init(panels, size: (panels + groups - 1) / max(groups, 1))
  }

  var count: Int { max(1, (total + size - 1) / size) }

  /// The items of every piece.
  var sizes: [Int] { (0..<count).map { range($0).count } }

  func range(_ piece: Int) -> Range<Int> {
    let start = min(piece * size, total)
    return start..<min(start + size, total)
  }
}
