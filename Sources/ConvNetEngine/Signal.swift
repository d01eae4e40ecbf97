import Glibc

/// Wakes one thread: `wait` sleeps until `raise` has been called once more than waited for.
///
/// `nonisolated(unsafe)`: a semaphore is made to be used by any thread at any time between `sem_init` and
/// `sem_destroy`, and whoever raises or waits holds a reference.
package final class Signal: Sendable {
  private nonisolated(unsafe) let semaphore: UnsafeMutablePointer<sem_t>

  /// A signal that has not been raised.
  package init() {
    semaphore = .allocate(capacity: 1)
    sem_init(semaphore, 0, 0)
  }

  deinit {
    sem_destroy(semaphore)
    semaphore.deallocate()
  }

  /// Lets one `wait` return.
  package func raise() { sem_post(semaphore) }

  /// Sleeps until there is a `raise` of its own.
  package func wait() {
    while sem_wait(semaphore) != 0 {}  // Interrupted by a signal handler.
  }
}
