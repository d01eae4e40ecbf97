/// Lays buffers of known size and lifetime into one arena.
///
/// Largest first, each at the lowest offset where it overlaps no buffer that lives at the same time
/// (greedy by size; Pisarchyk & Lee 2020, "Efficient memory management for deep neural net inference",
/// section 5.2).
enum ArenaPlanner {
  /// A buffer's size and the steps, both inclusive, between which its contents matter.
  struct Request {
    var byteCount: Int
    var first: Int
    var last: Int
  }

  /// The offset of every request, and the arena's size.
  static func plan(_ requests: [Request]) -> (offsets: [Int], byteCount: Int) {
    var offsets = [Int](repeating: 0, count: requests.count)
    var placed: [Int] = []
    var total = 0
    let order = requests.indices.sorted {
      (requests[$0].byteCount, $1) > (requests[$1].byteCount, $0)
    }
    for index in order where requests[index].byteCount > 0 {
      let request = requests[index]
      let size = aligned(request.byteCount)
      var offset = 0
      for other in placed where overlaps(requests[other], request) {
        if offset + size <= offsets[other] { break }
        offset = max(offset, offsets[other] + aligned(requests[other].byteCount))
      }
      offsets[index] = offset
      total = max(total, offset + size)
      let position = placed.firstIndex { offsets[$0] > offset } ?? placed.endIndex
      placed.insert(index, at: position)
    }
    return (offsets, total)
  }

  private static func aligned(_ byteCount: Int) -> Int { (byteCount + 63) / 64 * 64 }

  private static func overlaps(_ a: Request, _ b: Request) -> Bool {
    a.first <= b.last && b.first <= a.last
  }
}
