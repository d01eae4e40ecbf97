import ConvNetEngine
import ConvNetGraph
import ConvNetTestSupport
import Synchronization
import Testing

/// The line before a predictor: how many at once, who is next, who leaves.
@Suite struct PredictorQueueTests {
  /// A queue whose computation notes the number it was given, then waits to be let go.
  private final class Gate: Sendable {
    let order = Mutex<[Int]>([])
    let go = Signal()

    func queue(limit: Int) -> PredictorQueue {
      PredictorQueue(limit: limit) { request in
        let number = Int(request.inputs[0].floats[0])
        self.order.withLock { $0.append(number) }
        self.go.wait()
        if number < 0 { throw PlanError(.unsupported, "negative", at: "") }
        return request.inputs
      }
    }

    func open(_ count: Int) {
      for _ in 0..<count { go.raise() }
    }

    func begun(_ count: Int) async {
      while order.withLock(\.count) < count { await Task.yield() }
    }
  }

  private func request(_ number: Int) -> PredictorRequest {
    PredictorRequest(inputs: [Tensor(scalar: Float(number))], wanted: [])
  }

  private func start(_ number: Int, _ queue: PredictorQueue) -> Task<Int, any Error> {
    Task { Int(try await queue.run(request(number))[0].floats[0]) }
  }

  /// Starts tasks one after the other, each when the one before it stands in line.
  private func line(_ numbers: ClosedRange<Int>, _ queue: PredictorQueue) async
    -> [Task<Int, any Error>]
  {
    var tasks: [Task<Int, any Error>] = []
    for number in numbers {
      tasks.append(start(number, queue))
      while queue.waitingCount < tasks.count { await Task.yield() }
    }
    return tasks
  }

  @Test func tasksComeInOrder() async throws {
    let gate = Gate()
    let queue = gate.queue(limit: 1)
    let first = start(0, queue)
    await gate.begun(1)
    let tasks = await line(1...20, queue)
    gate.open(21)
    #expect(try await first.value == 0)
    for (number, task) in zip(1..., tasks) { #expect(try await task.value == number) }
    #expect(gate.order.withLock { $0 } == Array(0...20))
    #expect(queue.waitingCount == 0)
    queue.stop()
  }

  /// Who is cancelled in line leaves at once; who is being computed for gets the result.
  @Test func waitingTasksCanBeCancelled() async throws {
    let gate = Gate()
    let queue = gate.queue(limit: 1)
    let first = start(0, queue)
    await gate.begun(1)
    let tasks = await line(1...5, queue)
    for index in [0, 2, 4] {
      tasks[index].cancel()
      await #expect(throws: CancellationError.self) { try await tasks[index].value }
    }
    #expect(queue.waitingCount == 2)
    first.cancel()
    gate.open(3)
    #expect(try await first.value == 0)
    #expect(try await tasks[1].value == 2)
    #expect(try await tasks[3].value == 4)
    #expect(gate.order.withLock { $0 } == [0, 2, 4])
    let late = Task {
      while !Task.isCancelled { await Task.yield() }
      return try await queue.run(request(6))
    }
    late.cancel()
    await #expect(throws: CancellationError.self) { try await late.value }
    queue.stop()
  }

  /// Tasks and threads wait in one line; at most `limit` are computed for at once.
  @Test func threadsAndTasksShareTheLine() async throws {
    let gate = Gate()
    let queue = gate.queue(limit: 2)
    let running = [start(0, queue), start(1, queue)]
    await gate.begun(2)
    let tasks = await line(2...4, queue)
    let lanes = try Lanes(count: 4)
    let sum = Atomic(0)
    let threads = Task.detached {
      // One lane of the four lets the others and itself through.
      lanes.run(pieces: 4) { piece, _ in
        let result = try? queue.run(self.request(10 + piece))
        sum.add(Int(result?[0].floats[0] ?? 0), ordering: .relaxed)
      }
      return sum.load(ordering: .relaxed)
    }
    while queue.waitingCount < 7 { await Task.yield() }
    #expect(gate.order.withLock(\.count) == 2)
    gate.open(9)
    #expect(await threads.value == 10 + 11 + 12 + 13)
    for (number, task) in zip(0..., running + tasks) { #expect(try await task.value == number) }
    #expect(Set(gate.order.withLock { $0.prefix(5) }) == [0, 1, 2, 3, 4])
    queue.stop()
  }

  @Test func errorsReachTheirCaller() async throws {
    let gate = Gate()
    let queue = gate.queue(limit: 1)
    gate.open(3)
    await #expect(throws: PlanError.self) { try await queue.run(request(-1)) }
    let thread = Task.detached {
      func run() throws { _ = try queue.run(self.request(-2)) }
      return #expect(throws: PlanError.self) { try run() }
    }
    #expect(await thread.value != nil)
    // The places are free again.
    #expect(try await queue.run(request(3))[0].floats == [3])
    queue.stop()
  }

  /// Queues that end while threads sleep, were never started, or have just finished.
  @Test func queuesStartAndStop() async throws {
    for limit in 1...4 {
      let queue = PredictorQueue(limit: limit) { $0.inputs }
      try await withThrowingTaskGroup(of: Void.self) { group in
        for number in 0..<limit * 3 {
          group.addTask { _ = try await queue.run(self.request(number)) }
        }
        try await group.waitForAll()
      }
      queue.stop()
    }
    PredictorQueue(limit: 1) { $0.inputs }.stop()
  }
}
