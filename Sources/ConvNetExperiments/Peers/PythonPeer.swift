import Glibc

/// A program in Python that is asked for numbers, line by line, while it waits in a process of its own.
///
/// Started by `posix_spawn`, because a fork would copy locks that other threads hold; spoken to through a
/// socket, because writing to a pipe that nobody reads would end this program.
final class PythonPeer {
  private let process: pid_t
  private let socket: Int32
  private var pending: [UInt8] = []

  /// Starts a script; nil where there is no such Python.
  ///
  /// - Parameters:
  ///   - python: an interpreter's path, or its name to be looked for in `PATH`.
  ///   - script: the program. It reads standard input and answers each line by one on standard output.
  init?(_ python: String, script: String, arguments: [String]) {
    var ends: [Int32] = [-1, -1]
    let type = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
    guard socketpair(AF_UNIX, type, 0, &ends) == 0 else { return nil }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    for standard in [STDIN_FILENO, STDOUT_FILENO] {
      posix_spawn_file_actions_adddup2(&actions, ends[1], standard)
    }
    // A Python without PyTorch is a result, not a mistake to be told about.
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0)
    let strings = ([python, "-c", script] + arguments).map { strdup($0) }
    defer { for string in strings { free(string) } }
    var process = pid_t()
    let status = posix_spawnp(&process, python, &actions, nil, strings + [nil], environ)
    close(ends[1])
    guard status == 0 else {
      close(ends[0])
      return nil
    }
    (self.process, socket) = (process, ends[0])
  }

  /// The next line of the answer; nil where the program has ended.
  func line() -> String? {
    var buffer = [UInt8](repeating: 0, count: 4096)
    while true {
      if let end = pending.firstIndex(of: UInt8(ascii: "\n")) {
        defer { pending.removeFirst(end + 1) }
        return String(decoding: pending[..<end], as: UTF8.self)
      }
      let count = read(socket, &buffer, buffer.count)
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { return nil }
      pending += buffer.prefix(count)
    }
  }

  /// Asks, and waits for the answer: a number; nil where there is none.
  func ask(_ question: String) -> Double? {
    let bytes = Array((question + "\n").utf8)
    guard send(socket, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count else {
      return nil
    }
    return line().flatMap(Double.init)
  }

  deinit {
    // End of input is the end of the program.
    close(socket)
    var status: Int32 = 0
    while waitpid(process, &status, 0) < 0, errno == EINTR {}
  }
}
