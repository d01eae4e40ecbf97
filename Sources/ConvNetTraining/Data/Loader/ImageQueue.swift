import CConvNetThreads
import ConvNetEngine
import ConvNetGraph
import Glibc
import Synchronization

/// Images of a pass in order, prepared by threads of its own a bounded number of images ahead.
///
/// Image i lies in place i mod `capacity` of one buffer. A thread that has the right to a place, of which
/// there are as many as places nobody needs any more, claims the next image of the order; so threads are
/// never more than `capacity` images ahead, and which thread prepares an image changes nothing. One
/// consumer takes the images in order and gives their places back.
final class ImageQueue: Sendable {
  private enum Place {
    case pending
    case ready
    case failed(any Error)
  }

  private struct State {
    /// Images of the order that threads have begun.
    var claimed = 0
    var places: [Place]
    /// The image that the consumer sleeps for.
    var awaited: Int?
    var isStopping = false
  }

  private let assembler: BatchAssembler
  private let order: [Int]
  private let epoch: EpochKey?
  private let capacity: Int
  private let imageCount: Int
  private let state: Mutex<State>
  /// Each place is written by the thread that claimed its image, and read once that image is ready.
  private let storage: TensorStorage
  /// Raised once for each place that is free.
  private let free = Signal()
  /// Raised when the awaited image is there.
  private let arrival = Signal()

  /// Starts no thread yet.
  init(_ assembler: BatchAssembler, order: [Int], epoch: EpochKey?, capacity: Int) {
    self.assembler = assembler
    self.order = order
    self.epoch = epoch
    self.capacity = max(min(capacity, order.count), 1)
    imageCount = assembler.data.imageShape.count
    storage = TensorStorage(byteCount: self.capacity * imageCount * 4)
    state = Mutex(State(places: [Place](repeating: .pending, count: self.capacity)))
    for _ in 0..<self.capacity { free.raise() }
  }

  // MARK: The consumer

  /// Waits for an image, calls a closure with its pixels, and gives its place back.
  ///
  /// Called for 0, 1, 2, … in this order, by one thread.
  ///
  /// - Throws: why the image cannot be had.
  func take(_ index: Int, _ body: (UnsafePointer<Float>) -> Void) throws {
    let place = wait(for: index)
    defer { free.raise() }
    if case .failed(let error) = place { throw error }
    body(pointer(index))
  }

  private func wait(for index: Int) -> Place {
    while true {
      let found: Place? = state.withLock { state in
        let place = state.places[index % capacity]
        if case .pending = place {
          state.awaited = index
          return nil
        }
        state.places[index % capacity] = .pending
        return place
      }
      if let found { return found }
      arrival.wait()
    }
  }

  // MARK: Threads

  /// Starts threads and gives those that the system grants.
  func start(_ count: Int) -> [pthread_t] {
    (0..<count).compactMap { number in
      var thread = pthread_t()
      let queue = Unmanaged.passRetained(self)
      let error = cnt_thread_start(
        &thread, "loader-\(number + 1)",
        { queue in
          guard let queue else { return }
          Unmanaged<ImageQueue>.fromOpaque(queue).takeRetainedValue().serve()
        }, queue.toOpaque())
      if error != 0 { queue.release() }
      return error == 0 ? thread : nil
    }
  }

  /// Ends the threads after the images they are at.
  func stop(_ threads: [pthread_t]) {
    state.withLock { $0.isStopping = true }
    for _ in threads { free.raise() }
    for thread in threads { pthread_join(thread, nil) }
  }

  private func serve() {
    // As on every lane: denormal numbers would be other bits.
    _ = cnt_flush_denormals()
    // On Linux this is the calling thread's own: a lane that computes goes first.
    _ = nice(5)
    while let index = claim() {
      var place = Place.ready
      do {
        try assembler.assembleImage(order[index], in: epoch, to: pointer(index))
      } catch {
        place = .failed(error)
      }
      put(place, index)
    }
  }

  /// The next image, when there is a place for it; nil when there is nothing to do any more.
  private func claim() -> Int? {
    free.wait()
    return state.withLock { state in
      guard !state.isStopping, state.claimed < order.count else { return nil }
      state.claimed += 1
      return state.claimed - 1
    }
  }

  private func put(_ place: Place, _ index: Int) {
    let isAwaited = state.withLock { state in
      state.places[index % capacity] = place
      guard state.awaited == index else { return false }
      state.awaited = nil
      return true
    }
    if isAwaited { arrival.raise() }
  }

  private func pointer(_ index: Int) -> UnsafeMutablePointer<Float> {
    storage.base.assumingMemoryBound(to: Float.self) + index % capacity * imageCount
  }
}
