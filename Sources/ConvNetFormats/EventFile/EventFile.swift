import Glibc

/// A file of events that TensorBoard shows: scalars, histograms and images over the steps of a training.
///
///     let events = try EventFile(folder: "runs/first")
///     events.add(scalar: 0.31, "loss/training", step: 100)
///     try events.flush()
///
/// Records are framed as TFRecord, each holding a `tensorflow.Event`. Events are kept until `flush()`.
package final class EventFile {
  /// The file.
  package let path: String
  private let file: AppendingFile
  private let now: () -> Double
  private var pending: [UInt8] = []

  /// Makes a file of its own in a folder that is there.
  ///
  /// - Parameters:
  ///   - firstStep: readers drop events of this step and later ones that earlier files of the folder hold,
  ///     which is what a training resumed from a checkpoint wants.
  ///   - now: seconds since 1970.
  /// - Throws: `FileError` where none can be written.
  package init(
    folder: String, firstStep: Int? = nil, host: String = EventFile.hostName,
    process: Int = Int(getpid()), now: @escaping () -> Double = EventFile.wallTime
  ) throws {
    let start = now()
    let name = "\(folder)/events.out.tfevents.\(Self.padded(start)).\(host).\(process)"
    // A process that makes two files in one second tells them apart as TensorFlow does, by a suffix.
    var path = name
    var copy = 0
    while SystemCall.exists(path), copy < 10_000 {
      copy += 1
      path = "\(name).\(copy)"
    }
    file = try AppendingFile(path, isNew: true)
    self.path = path
    self.now = now
    addEvent(time: start) { $0.string(3, "brain.Event:2") }
    if let firstStep {
      addEvent(time: start) { event in
        event.int64(2, Int64(firstStep))
        event.message(7) { $0.int64(1, 1) }  // SessionLog.START
      }
    }
    try flush()
  }

  /// Adds one number.
  package func add(scalar value: Double, _ tag: String, step: Int) {
    addValue(tag, step: step) { $0.float(2, Float(value)) }
  }

  /// Adds a histogram.
  package func add(_ histogram: EventHistogram, _ tag: String, step: Int) {
    addValue(tag, step: step) { $0.message(5, histogram.message) }
  }

  /// Adds a picture.
  ///
  /// - Parameters:
  ///   - png: the picture as a PNG file.
  ///   - channels: 1 of grey, 2 with alpha, 3 of colours, 4 with alpha.
  package func add(
    png: [UInt8], width: Int, height: Int, channels: Int, _ tag: String, step: Int
  ) {
    addValue(tag, step: step) { value in
      value.message(4) { image in
        image.int64(1, Int64(height))
        image.int64(2, Int64(width))
        image.int64(3, Int64(channels))
        image.bytes(4, png)
      }
    }
  }

  /// Writes what was added since; others who read the file see it afterwards.
  ///
  /// - Throws: `FileError` where it cannot be written; what was added is dropped then.
  package func flush() throws {
    defer { pending.removeAll(keepingCapacity: true) }
    try file.append(pending)
  }

  private func addValue(
    _ tag: String, step: Int, _ body: (inout ProtobufWriter) -> Void
  ) {
    addEvent(time: now()) { event in
      event.int64(2, Int64(step))
      event.message(5) { summary in
        summary.message(1) { value in
          value.string(1, tag)
          body(&value)
        }
      }
    }
  }

  private func addEvent(time: Double, _ body: (inout ProtobufWriter) -> Void) {
    var event = ProtobufWriter()
    event.double(1, time)
    body(&event)
    pending += TFRecord.framed(event.encoded)
  }

  /// Seconds as names have them: of ten digits, so that names sort by time.
  private static func padded(_ seconds: Double) -> String {
    let digits = String(Int(min(max(seconds, 0), 1e15)))
    return String(repeating: "0", count: max(10 - digits.count, 0)) + digits
  }

  /// Seconds since 1970.
  package static func wallTime() -> Double {
    var time = timespec()
    unsafe clock_gettime(CLOCK_REALTIME, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
  }

  /// The machine's name as a file name may hold it.
  package static var hostName: String {
    var name = [CChar](repeating: 0, count: 256)
    guard unsafe gethostname(&name, name.count - 1) == 0 else { return "localhost" }
    let bytes = name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
    let text = String(decoding: bytes, as: UTF8.self).replacing("/")
    return text.isEmpty ? "localhost" : text
  }
}

extension String {
  fileprivate func replacing(_ separator: Character) -> String {
    String(map { $0 == separator ? "_" : $0 })
  }
}
