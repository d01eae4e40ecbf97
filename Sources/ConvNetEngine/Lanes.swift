import CConvNetThreads
import OpenBLAS

/// The threads that plans run on: the caller's and `count − 1` others.
///
/// A plan cuts its work into pieces that do not depend on `count`, so that results have the same bits on
/// any number of lanes. While a plan runs, a lane that has nothing to do spins for at most 50 µs and then
/// sleeps on a futex; between plans all lanes sleep. A second caller at the same moment computes on its
/// own thread alone. Nothing here runs on Swift's cooperative pool unless the caller does.
///
/// `@unchecked Sendable`: the only stored state besides a constant is the team, whose functions may be
/// called from any thread at any time between `init` and `deinit` (threads.c says why).
public final class Lanes: @unchecked Sendable {
  /// As many lanes as affinity, cpuset and cgroup quota allow this process.
  ///
  /// A single one, the caller's, where the system refuses threads.
  public static let shared: Lanes = {
    do { return try Lanes(starting: budget.count) } catch { return Lanes(team: nil, count: 1) }
  }()

  /// What limits this process, read once.
  private static let budget = ThreadBudget.detect()

  /// The number of threads that compute, the caller's included.
  public let count: Int
  private let team: OpaquePointer?

  /// Starts `count − 1` threads.
  ///
  /// - Throws: `ThreadBudgetError` where `count` is not between 1 and 1024, or the system does not let
  ///   the process have so many threads.
  public convenience init(count: Int) throws {
    try self.init(starting: try ThreadBudget(lanes: count).count)
  }

  /// More lanes than processors don't spin: the processor is worth more to the lane that computes.
  private convenience init(starting count: Int) throws {
    let spin: UInt64 = count <= Lanes.budget.count ? 50_000 : 0
    guard let team = cnt_team_start(Int32(count - 1), spin, { BLAS.limitCallingThread() }) else {
      throw ThreadBudgetError(
        description: "the system refuses \(count - 1) threads besides the caller's")
    }
    self.init(team: team, count: count)
  }

  private init(team: OpaquePointer?, count: Int) {
    self.team = team
    self.count = count
  }

  deinit {
    if let team { cnt_team_stop(team) }
  }

  /// A step and the context it runs in, handed to the team by address.
  private struct Job {
    let step: any Step
    let context: Context
  }

  /// Runs every piece of a step and returns when all are done; allocates nothing.
  func run(_ step: any Step, in context: Context) {
    let pieces = step.pieces
    guard pieces > 1, count > 1, let team else {
      for piece in 0..<pieces { step.run(piece: piece, lane: 0, in: context) }
      return
    }
    withUnsafePointer(to: Job(step: step, context: context)) { job in
      cnt_team_run(
        team, pieces,
        { job, piece, lane in
          guard let job = job?.assumingMemoryBound(to: Job.self) else { return }
          job.pointee.step.run(piece: piece, lane: lane, in: job.pointee.context)
        }, UnsafeMutableRawPointer(mutating: job))
    }
  }

  /// Runs a closure for every piece and returns when all are done.
  ///
  /// The pieces must not depend on one another, and what they compute must not depend on the lane. A lane
  /// is below `count`; no two pieces run on one lane at once.
  package func run(pieces: Int, _ body: @Sendable (_ piece: Int, _ lane: Int) -> Void) {
    Lanes.withFlushedDenormals {
      guard pieces > 1, count > 1, let team else {
        for piece in 0..<pieces { body(piece, 0) }
        return
      }
      withoutActuallyEscaping(body) { body in
        withUnsafePointer(to: body) { job in
          cnt_team_run(
            team, pieces,
            { job, piece, lane in
              typealias Body = @Sendable (Int, Int) -> Void
              guard let job = job?.assumingMemoryBound(to: Body.self) else { return }
              job.pointee(piece, lane)
            }, UnsafeMutableRawPointer(mutating: job))
        }
      }
    }
  }

  /// Calls a closure with denormals flushed to zero, as they are on every other lane.
  static func withFlushedDenormals<Result, Failure: Error>(
    _ body: () throws(Failure) -> Result
  ) throws(Failure) -> Result {
    // An OpenMP build keeps its limit for each thread, and the caller may be any.
    BLAS.limitCallingThread()
    let saved = cnt_flush_denormals()
    defer { cnt_restore(saved) }
    return try body()
  }
}
