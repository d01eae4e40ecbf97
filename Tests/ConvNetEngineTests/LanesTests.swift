import ConvNetEngine
import ConvNetTestSupport
import OpenBLAS
import Synchronization
import Testing

@Suite struct LanesTests {
  @Test func everyPieceRunsOnce() throws {
    for lanes in TestLanes.all {
      for pieces in [0, 1, 2, 7, 1000] {
        let counts = (0..<pieces).map { _ in Counter() }
        lanes.run(pieces: pieces) { piece, lane in
          if (0..<lanes.count).contains(lane) { counts[piece].increment() }
        }
        #expect(counts.allSatisfy { $0.value == 1 }, "\(lanes.count) lanes, \(pieces) pieces")
      }
    }
  }

  /// Callers at the same moment don't wait for one another and don't mix their pieces.
  @Test func concurrentCallers() async {
    await withTaskGroup(of: Int.self) { group in
      for _ in 0..<8 {
        group.addTask {
          let counter = Counter()
          for _ in 0..<50 {
            TestLanes.all[1].run(pieces: 20) { _, _ in counter.increment() }
          }
          return counter.value
        }
      }
      for await count in group { #expect(count == 1000) }
    }
  }

  @Test(arguments: [0, -1, 1025, 10_000]) func countsOutOfRangeAreErrors(_ count: Int) {
    #expect(throws: ThreadBudgetError.self) { try Lanes(count: count) }
  }

  @Test func lanesStartAndStop() throws {
    for _ in 0..<20 {
      let lanes = try Lanes(count: 3)
      let counter = Counter()
      lanes.run(pieces: 5) { _, _ in counter.increment() }
      #expect(counter.value == 5)
    }
  }

  private final class Counter: Sendable {
    private let count = Atomic<Int>(0)
    func increment() { count.add(1, ordering: .relaxed) }
    var value: Int { count.load(ordering: .relaxed) }
  }
}
