import Glibc
import Synchronization

/// A wish to end from outside: SIGINT, as of Ctrl-C, or SIGTERM.
enum Interruption {
  private static let received = Atomic<Int32>(0)

  /// The signal that came; 0 before.
  static var signal: Int32 { received.load(ordering: .relaxed) }

  /// The status of a program that ends because of it.
  static var status: Int32 { 128 + signal }

  /// Notes the first such signal instead of ending; a second one ends the program at once.
  static func listen() {
    // The first access makes the variable, which a handler may not do.
    _ = received.load(ordering: .relaxed)
    // Who started the program may have blocked them, as threads of Dispatch do, and that is inherited.
    var signals = sigset_t()
    sigemptyset(&signals)
    for number in [SIGINT, SIGTERM] {
      sigaddset(&signals, number)
      Glibc.signal(number) { number in
        Interruption.received.store(number, ordering: .relaxed)
        Glibc.signal(number, SIG_DFL)
      }
    }
    pthread_sigmask(SIG_UNBLOCK, &signals, nil)
  }
}
