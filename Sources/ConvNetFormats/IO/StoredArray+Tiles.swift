import ConvNetGraph

extension StoredArray {
  /// The axes in the file's order, as few as say the same: those of extent 1 are left out, and neighbours
  /// that are neighbours in the tensor, too, are one.
  struct Axes {
    private(set) var extents: [Int] = []
    /// Elements between neighbours in the file.
    private(set) var fileStrides: [Int] = []
    /// Elements between neighbours in the tensor.
    private(set) var tensorStrides: [Int] = []

    init(_ array: StoredArray) {
      var strides = [Int](repeating: 0, count: array.shape.rank)
      for (axis, stride) in zip(array.permutation, array.tensorShape.strides) {
        strides[axis] = stride
      }
      for (axis, extent) in array.shape.dimensions.enumerated() where extent != 1 {
        if let last = tensorStrides.last, last == strides[axis] * extent {
          extents[count - 1] *= extent
          tensorStrides[count - 1] = strides[axis]
        } else {
          extents.append(extent)
          tensorStrides.append(strides[axis])
        }
      }
      fileStrides = Shape(extents).strides
    }

    var count: Int { extents.count }

    /// Whether the elements are in the same order on both sides; so are none.
    var areInOrder: Bool { tensorStrides == fileStrides || extents.contains(0) }

    /// Boxes of at most so many elements, or one, that hold up to `run` neighbours along the tensor's
    /// last axis and otherwise as long a piece of the file as fits.
    func tiles(elements: Int, run: Int) -> Tiles {
      var tile = [Int](repeating: 1, count: count)
      var room = max(elements, 1)
      if let last = extents.indices.min(by: { tensorStrides[$0] < tensorStrides[$1] }) {
        tile[last] = min(extents[last], run)
        room /= max(tile[last], 1)
      }
      for axis in extents.indices.reversed() {
        let length = min(extents[axis], max(tile[axis] * room, 1))
        room = room * tile[axis] / max(length, 1)
        tile[axis] = length
        // What lies before an axis that is not covered as a whole is read in another call anyway.
        if length < extents[axis] { break }
      }
      return Tiles(whole: extents, extents: tile)
    }
  }

  /// A box cut into boxes.
  struct Tiles {
    /// The extents of all together.
    let whole: [Int]
    /// The extents of one, smaller at the edges.
    let extents: [Int]

    /// Calls a closure with where each box begins and what it measures.
    func forEach(_ body: (_ origin: [Int], _ extents: [Int]) throws -> Void) rethrows {
      guard !whole.contains(0) else { return }
      let counts = zip(whole, extents).map { ($0 + $1 - 1) / $1 }
      var index = [Int](repeating: 0, count: counts.count)
      repeat {
        let origin = zip(index, extents).map { $0 * $1 }
        try body(origin, whole.indices.map { min(extents[$0], whole[$0] - origin[$0]) })
      } while Self.advance(&index, within: counts)
    }

    /// The next index, the last axis first; false after the last one.
    static func advance(_ index: inout [Int], within extents: [Int]) -> Bool {
      for axis in index.indices.reversed() {
        index[axis] += 1
        if index[axis] < extents[axis] { return true }
        index[axis] = 0
      }
      return false
    }
  }
}
