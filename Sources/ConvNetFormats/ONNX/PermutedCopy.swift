import ConvNetGraph

/// Copies a dense tensor that arrives in its own order to where its axes are in another.
///
/// Axes of extent 1 are dropped and neighbours that stay neighbours become one. Where the fastest
/// axis of the target is another than the source's, some rows of the source are loaded at a time, so
/// that whole cache lines of the target are written: a weight `[O, I, kh, kw]` becomes
/// `[kh, kw, I, O]` at nearly the speed of memory.
struct PermutedCopy {
  /// Elements that a tile holds.
  private static let tileSize = 1 << 16
  /// Elements of a row in a tile, at most.
  private static let rowSize = 1 << 12
  /// Elements side by side in the target that are written at once: a cache line of floats.
  private static let lineSize = 16

  /// Extents of the source.
  private var extents: [Int] = []
  /// Elements between neighbours along each axis of the source.
  private var strides: [Int] = []
  /// Elements between neighbours in the target along each axis of the source.
  private var targetStrides: [Int] = []
  private let count: Int

  /// - Parameter axes: The source's axes in the order of the target.
  init(_ shape: Shape, permutedBy axes: [Int]) {
    guard axes.sorted() == Array(0..<shape.rank) else {
      fatalError("The axes \(axes) are no permutation of those of a tensor of shape \(shape).")
    }
    count = shape.count
    guard count > 0 else { return }
    let kept = (0..<shape.rank).filter { shape[$0] > 1 }
    var next = 1
    var target = [Int](repeating: 0, count: shape.rank)
    for axis in axes.reversed() {
      target[axis] = next
      next *= shape[axis]
    }
    for axis in kept {
      if let last = targetStrides.last, last == target[axis] * shape[axis] {
        extents[extents.count - 1] *= shape[axis]
        targetStrides[extents.count - 1] = target[axis]
      } else {
        extents.append(shape[axis])
        targetStrides.append(target[axis])
      }
    }
    strides = Shape(extents).strides
  }

  /// Loads elements of the source, given by the first and their number, to a place in memory.
  typealias Load<Element> = (Int, Int, UnsafeMutablePointer<Element>) throws -> Void

  /// Copies everything.
  @unsafe
  func run<Element: BitwiseCopyable>(
    into target: UnsafeMutablePointer<Element>, _ load: Load<Element>
  ) throws {
    guard count > 0 else { return }
    guard extents.count > 1 else { return unsafe try load(0, count, target) }
    let tile = UnsafeMutablePointer<Element>.allocate(capacity: Self.tileSize)
    defer { unsafe tile.deallocate() }
    if targetStrides.last == 1 {
      unsafe try copyRuns(into: target, through: tile, load)
    } else {
      unsafe try copyTiles(into: target, through: tile, load)
    }
  }

  /// The fastest axis stays the fastest: runs of it are moved.
  private func copyRuns<Element: BitwiseCopyable>(
    into target: UnsafeMutablePointer<Element>, through tile: UnsafeMutablePointer<Element>,
    _ load: Load<Element>
  ) throws {
    let run = extents[extents.count - 1]
    var outer = Odometer(extents.dropLast(), targetStrides.dropLast())
    if run >= Self.tileSize / 8 {
      for first in stride(from: 0, to: count, by: run) {
        unsafe try load(first, run, target + outer.offset)
        outer.advance()
      }
      return
    }
    let block = Self.tileSize / run * run
    for first in stride(from: 0, to: count, by: block) {
      let length = min(block, count - first)
      unsafe try load(first, length, tile)
      for start in stride(from: 0, to: length, by: run) {
        unsafe (target + outer.offset).update(from: tile + start, count: run)
        outer.advance()
      }
    }
  }

  /// Another axis becomes the fastest: tiles of it and of what lies inside it are transposed.
  private func copyTiles<Element: BitwiseCopyable>(
    into target: UnsafeMutablePointer<Element>, through tile: UnsafeMutablePointer<Element>,
    _ load: Load<Element>
  ) throws {
    guard let axis = targetStrides.firstIndex(of: 1) else { return }
    let row = strides[axis]
    let columns = min(row, Self.rowSize)
    let rows = min(extents[axis], max(Self.lineSize, Self.tileSize / columns))
    var outer = Odometer(extents[..<axis], targetStrides[..<axis])
    var places = [Int](repeating: 0, count: columns)
    for start in stride(from: 0, to: count, by: extents[axis] * row) {
      var inner = Odometer(extents[(axis + 1)...], targetStrides[(axis + 1)...])
      for column in stride(from: 0, to: row, by: columns) {
        let width = min(columns, row - column)
        for index in 0..<width {
          places[index] = outer.offset + inner.offset
          inner.advance()
        }
        for first in stride(from: 0, to: extents[axis], by: rows) {
          let height = min(rows, extents[axis] - first)
          let from = start + first * row + column
          if width == row {
            unsafe try load(from, height * width, tile)
          } else {
            for index in 0..<height {
              unsafe try load(from + index * row, width, tile + index * width)
            }
          }
          unsafe Self.transpose(tile, height, width, to: target + first, at: places)
        }
      }
      outer.advance()
    }
  }

  /// Writes each column of a tile to its place, a cache line at a time.
  private static func transpose<Element: BitwiseCopyable>(
    _ tile: UnsafeMutablePointer<Element>, _ height: Int, _ width: Int,
    to target: UnsafeMutablePointer<Element>, at places: [Int]
  ) {
    for first in stride(from: 0, to: height, by: lineSize) {
      let lines = min(lineSize, height - first)
      let from = unsafe tile + first * width
      let to = unsafe target + first
      for column in 0..<width {
        let line = unsafe to + places[column]
        for index in 0..<lines { unsafe line[index] = from[index * width + column] }
      }
    }
  }

  /// Counts through the indices of several axes, the last fastest, and keeps their offset.
  private struct Odometer {
    let extents: [Int]
    let strides: [Int]
    var index: [Int]
    var offset = 0

    init(_ extents: ArraySlice<Int>, _ strides: ArraySlice<Int>) {
      self.extents = Array(extents)
      self.strides = Array(strides)
      index = Array(repeating: 0, count: extents.count)
    }

    mutating func advance() {
      for axis in stride(from: extents.count - 1, through: 0, by: -1) {
        index[axis] += 1
        offset += strides[axis]
        if index[axis] < extents[axis] { return }
        offset -= strides[axis] * extents[axis]
        index[axis] = 0
      }
    }
  }
}
