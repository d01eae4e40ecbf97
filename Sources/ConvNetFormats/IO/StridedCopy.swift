/// Elements that are copied from one order of axes into another: extents, and for both sides the
/// elements between neighbours along each axis.
struct StridedCopy {
  /// What is copied at once along either axis of a transposition: eight lines of cache on each side
  /// fit every cache, even where strides are powers of two and all eight share its sets.
  private static let block = 8

  private var extents: [Int]
  private var sourceStrides: [Int]
  private var targetStrides: [Int]

  init(extents: [Int], from sourceStrides: [Int], to targetStrides: [Int]) {
    self.extents = extents
    self.sourceStrides = sourceStrides
    self.targetStrides = targetStrides
  }

  /// Copies every element through a function of it, such as one that widens.
  ///
  /// The two axes that are the densest, one at the source and one at the target, are walked in small
  /// blocks, so that a line of cache is used up while it is near on either side.
  @inline(__always)
  func run<Source: BitwiseCopyable, Target: BitwiseCopyable>(
    from source: UnsafePointer<Source>, to target: UnsafeMutablePointer<Target>,
    _ convert: (Source) -> Target
  ) {
    guard !extents.contains(0) else { return }
    let axes = extents.indices.filter { extents[$0] > 1 }
    guard let column = axes.min(by: { sourceStrides[$0] < sourceStrides[$1] }),
      let row = axes.min(by: { targetStrides[$0] < targetStrides[$1] })
    else {
      unsafe target.pointee = convert(source.pointee)
      return
    }
    let outer = axes.filter { $0 != column && $0 != row }
    var index = [Int](repeating: 0, count: outer.count)
    var (from, to) = (0, 0)
    while true {
      if row == column {
        unsafe line(along: row, from: source + from, to: target + to, convert)
      } else {
        unsafe plane(column, row, from: source + from, to: target + to, convert)
      }
      // An odometer: the last axis turns fastest, a full one goes back and turns its neighbour.
      var digit = outer.count - 1
      while digit >= 0 {
        let axis = outer[digit]
        index[digit] += 1
        from += sourceStrides[axis]
        to += targetStrides[axis]
        if index[digit] < extents[axis] { break }
        from -= sourceStrides[axis] * index[digit]
        to -= targetStrides[axis] * index[digit]
        index[digit] = 0
        digit -= 1
      }
      if digit < 0 { return }
    }
  }

  @inline(__always)
  private func line<Source: BitwiseCopyable, Target: BitwiseCopyable>(
    along axis: Int, from source: UnsafePointer<Source>, to target: UnsafeMutablePointer<Target>,
    _ convert: (Source) -> Target
  ) {
    let (s, t) = (sourceStrides[axis], targetStrides[axis])
    for i in 0..<extents[axis] { unsafe target[i &* t] = convert(source[i &* s]) }
  }

  /// Transposes a matrix whose elements lie close to each other along `column` at the source and along
  /// `row` at the target.
  @inline(__always)
  private func plane<Source: BitwiseCopyable, Target: BitwiseCopyable>(
    _ column: Int, _ row: Int, from source: UnsafePointer<Source>,
    to target: UnsafeMutablePointer<Target>, _ convert: (Source) -> Target
  ) {
    let (sc, sr) = (sourceStrides[column], sourceStrides[row])
    let (tc, tr) = (targetStrides[column], targetStrides[row])
    let (columns, rows) = (extents[column], extents[row])
    for firstColumn in stride(from: 0, to: columns, by: Self.block) {
      let endColumn = min(firstColumn &+ Self.block, columns)
      for firstRow in stride(from: 0, to: rows, by: Self.block) {
        let endRow = min(firstRow &+ Self.block, rows)
        for c in firstColumn..<endColumn {
          let (from, to) = unsafe (source + c &* sc, target + c &* tc)
          for r in firstRow..<endRow { unsafe to[r &* tr] = convert(from[r &* sr]) }
        }
      }
    }
  }
}
