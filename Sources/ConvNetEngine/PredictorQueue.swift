import CConvNetThreads
package import ConvNetGraph
import Glibc
import OpenBLAS
import Synchronization

/// Lets at most `limit` callers compute at once, in the order they came, and computes for those that are
/// tasks on threads of its own.
///
/// A place that falls free is handed to the first in line; a place is only ever free while nobody waits.
/// Threads are started when there is work for them and live until `stop`.
package final class PredictorQueue: Sendable {
  /// What a task waits for.
  private struct Job: Sendable {
    let request: PredictorRequest
    let continuation: CheckedContinuation<[Tensor], any Error>
  }

  private enum Waiter {
    case thread(Signal)
    case task(Job)
  }

  private struct State {
    var freePlaces: Int
    var line = WaitingLine<Waiter>()
    /// Jobs that have a place and wait for a thread.
    var ready: [Job] = []
    var threads: [pthread_t] = []
    var sleeping: [Signal] = []
    /// Threads that are awake and will look at `ready` before they sleep.
    var looking = 0
    var isStopping = false
  }

  private let limit: Int
  private let compute: @Sendable (PredictorRequest) throws -> [Tensor]
  private let state: Mutex<State>

  /// Starts no thread yet.
  package init(limit: Int, compute: @escaping @Sendable (PredictorRequest) throws -> [Tensor]) {
    self.limit = limit
    self.compute = compute
    state = Mutex(State(freePlaces: limit))
  }

  /// Computes on the calling thread, which sleeps until it is its turn.
  package func run(_ request: PredictorRequest) throws -> [Tensor] {
    let turn: Signal? = state.withLock { state in
      guard state.freePlaces == 0 else {
        state.freePlaces -= 1
        return nil
      }
      let turn = Signal()
      _ = state.line.append(.thread(turn))
      return turn
    }
    turn?.wait()
    defer { leave()?.raise() }
    return try compute(request)
  }

  /// Computes on a thread of the queue; the calling task is suspended.
  ///
  /// - Throws: `CancellationError` where the task is cancelled before its turn has come.
  package func run(_ request: PredictorRequest) async throws -> [Tensor] {
    try Task.checkCancellation()
    let ticket = Ticket()
    return try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { continuation in
        enqueue(Job(request: request, continuation: continuation), ticket)
        // A task cancelled before it stood in line was not found there.
        if Task.isCancelled { cancel(ticket) }
      }
    } onCancel: {
      cancel(ticket)
    }
  }

  /// How many callers wait for their turn.
  package var waitingCount: Int { state.withLock { $0.line.count } }

  /// Ends the threads.
  ///
  /// No caller may be inside.
  package func stop() {
    let (threads, sleeping) = state.withLock { state in
      state.isStopping = true
      let result = (state.threads, state.sleeping)
      state.sleeping = []
      return result
    }
    for signal in sleeping { signal.raise() }
    for thread in threads { pthread_join(thread, nil) }
  }

  // MARK: Places

  private func enqueue(_ job: Job, _ ticket: Ticket) {
    let (signal, refused) = state.withLock { state -> (Signal?, Bool) in
      // With one thread every job gets done; more are a matter of speed.
      if state.threads.isEmpty, !startThread(&state) { return (nil, true) }
      guard state.freePlaces == 0 else {
        state.freePlaces -= 1
        return (dispatch(job, &state), false)
      }
      ticket.number.store(state.line.append(.task(job)), ordering: .relaxed)
      return (nil, false)
    }
    signal?.raise()
    if refused {
      job.continuation.resume(
        throwing: ThreadBudgetError(description: "the system refuses the predictor a thread"))
    }
  }

  private func cancel(_ ticket: Ticket) {
    let waiter = state.withLock { $0.line.remove(ticket.number.load(ordering: .relaxed)) }
    if case .task(let job) = waiter { job.continuation.resume(throwing: CancellationError()) }
  }

  /// Hands the caller's place to the first in line; gives the signal to raise.
  private func leave() -> Signal? {
    state.withLock { state in
      switch state.line.popFirst() {
      case .thread(let turn): return turn
      case .task(let job): return dispatch(job, &state)
      case nil:
        state.freePlaces += 1
        return nil
      }
    }
  }

  /// Gives a job that has a place to a thread; gives the signal to raise.
  private func dispatch(_ job: Job, _ state: inout State) -> Signal? {
    state.ready.append(job)
    guard state.ready.count > state.looking else { return nil }
    if let signal = state.sleeping.popLast() {
      state.looking += 1
      return signal
    }
    if state.threads.count < limit { _ = startThread(&state) }
    return nil
  }

  // MARK: Threads

  private func startThread(_ state: inout State) -> Bool {
    var thread = pthread_t()
    let queue = Unmanaged.passRetained(self)
    let error = cnt_thread_start(
      &thread, "predictor-\(state.threads.count + 1)",
      { queue in
        guard let queue else { return }
        Unmanaged<PredictorQueue>.fromOpaque(queue).takeRetainedValue().serve()
      }, queue.toOpaque())
    guard error == 0 else {
      queue.release()
      return false
    }
    state.threads.append(thread)
    state.looking += 1
    return true
  }

  private func serve() {
    let wake = Signal()
    while let job = nextJob(wake) {
      let result = Result { try compute(job.request) }
      state.withLock { $0.looking += 1 }
      leave()?.raise()
      job.continuation.resume(with: result)
    }
  }

  /// Sleeps until there is a job; nil when the threads are to end.
  private func nextJob(_ wake: Signal) -> Job? {
    while true {
      let (job, stops) = state.withLock { state -> (Job?, Bool) in
        state.looking -= 1
        if !state.ready.isEmpty { return (state.ready.removeFirst(), false) }
        if !state.isStopping { state.sleeping.append(wake) }
        return (nil, state.isStopping)
      }
      if job != nil || stops { return job }
      wake.wait()
    }
  }
}

/// A task's number in the line; −1 while it does not stand there.
///
/// Written and read under the queue's lock.
private final class Ticket: Sendable {
  let number = Atomic<Int>(-1)
}

/// First in, first out, with a way to leave.
private struct WaitingLine<Element> {
  private var elements: [Int: Element] = [:]
  private var first = 0
  private var end = 0

  var count: Int { elements.count }

  mutating func append(_ element: Element) -> Int {
    elements[end] = element
    end += 1
    return end - 1
  }

  mutating func popFirst() -> Element? {
    while first < end {
      first += 1
      if let element = elements.removeValue(forKey: first - 1) { return element }
    }
    return nil
  }

  mutating func remove(_ number: Int) -> Element? { elements.removeValue(forKey: number) }
}
