import Glibc

/// Runs this program once more with other arguments and another environment.
///
/// By `posix_spawn`: a fork would copy locks that other threads hold.
enum ChildProcess {
  /// What the child wrote to standard output.
  ///
  /// - Parameters:
  ///   - arguments: those behind the program's name.
  ///   - removing: the environment's variables that the child shall not see.
  /// - Throws: `ToolError` where the child cannot be started or fails.
  static func output(_ arguments: [String], removing: Set<String> = []) throws -> String {
    var ends: [Int32] = [-1, -1]
    guard pipe(&ends) == 0 else { throw failure("no pipe", errno) }
    defer { close(ends[0]) }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO)
    for end in ends { posix_spawn_file_actions_addclose(&actions, end) }
    var process = pid_t()
    let status = withCStrings(["convnet"] + arguments) { arguments in
      withCStrings(environment(removing: removing)) { environment in
        posix_spawn(&process, "/proc/self/exe", &actions, nil, arguments, environment)
      }
    }
    close(ends[1])
    guard status == 0 else { throw failure("it cannot be started", status) }
    let text = readAll(ends[0])
    var code: Int32 = 0
    while waitpid(process, &code, 0) < 0, errno == EINTR {}
    guard code == 0 else { throw ToolError("a child process for a measurement failed") }
    return text
  }

  private static func failure(_ what: String, _ number: Int32) -> ToolError {
    ToolError("a child process for a measurement: \(what): \(String(cString: strerror(number)))")
  }

  private static func environment(removing: Set<String>) -> [String] {
    var entries: [String] = []
    var next = environ
    while let entry = next.pointee {
      let text = String(cString: entry)
      if !removing.contains(String(text.prefix { $0 != "=" })) { entries.append(text) }
      next += 1
    }
    return entries
  }

  private static func readAll(_ descriptor: Int32) -> String {
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4096)
    while true {
      let count = read(descriptor, &buffer, buffer.count)
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { return String(decoding: bytes, as: UTF8.self) }
      bytes += buffer.prefix(count)
    }
  }

  /// Calls a closure with C's kind of list: pointers to strings, ended by null.
  private static func withCStrings<Result>(
    _ strings: [String], _ body: ([UnsafeMutablePointer<CChar>?]) -> Result
  ) -> Result {
    let copies = strings.map { strdup($0) }
    defer { for copy in copies { free(copy) } }
    return body(copies + [nil])
  }
}
