import ArgumentParser
import ConvNet
import ConvNetImages
import FoundationEssentials

/// `convnet bench images`.
struct BenchImagesCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "images",
    abstract: "Measures what is done to photographs before a network trains on them.",
    discussion: """
      A run takes a batch of files from reading to normalised floats: decoding, a random part of \
      random proportions, resizing, and a mirror for every second one.
      """)

  @Option(help: "A folder of JPEG or PNG files.") var folder: String
  @Option(parsing: .unconditional, help: "Height and width of what the network sees.")
  var size = 224
  @Option(parsing: .unconditional, help: "Images of a run.") var batch = 32
  @Option(parsing: .unconditional, help: "Seconds to measure, at least.") var seconds = 2.0
  @OptionGroup var laneOptions: LaneOptions
  @Flag(help: "Print JSON only.") var json = false

  /// The shape of the JSON.
  struct Report: Encodable {
    var images: Int
    var size: Int
    var batch: Int
    /// Of a whole batch.
    var medianMs: Double
    var minMs: Double
    var runs: Int
    var lanes: Int
    /// By the median.
    var imagesPerSecond: Double
    var residentBytes: Int?
  }

  func run() throws {
    guard (0...3600).contains(seconds) else {
      throw ToolError("--seconds takes a number from 0 to 3600, not \(seconds)")
    }
    guard (1...4096).contains(size) else {
      throw ToolError("--size takes a number from 1 to 4096, not \(size)")
    }
    guard (1...1024).contains(batch) else {
      throw ToolError("--batch takes a number from 1 to 1024, not \(batch)")
    }
    let lanes = try laneOptions.make()
    let files = try PhotographFiles(folder: folder, size: size)
    let assembler = try BatchAssembler(data: files, normalization: .imageNet)
    var output = [Float](repeating: 0, count: batch * files.imageShape.count)
    var next = 0
    var failure: (any Error)?
    func step() {
      let epoch = EpochKey(seed: 1, epoch: next / files.count)
      let samples = (next..<(next + batch)).map { $0 % files.count }
      next += batch
      do {
        try output.withUnsafeMutableBufferPointer {
          try assembler.assemble(samples[...], into: $0, in: epoch, lanes: lanes)
        }
      } catch { failure = failure ?? error }
    }
    // What a file says is said before minutes are spent on it.
    for _ in 0..<(files.count + batch - 1) / batch where failure == nil { step() }
    if let failure { throw failure }
    let timing = Timing.compare(seconds: seconds, [step])[0]
    if let failure { throw failure }
    let report = Report(
      images: files.count, size: size, batch: batch, medianMs: timing.median * 1e3,
      minMs: timing.minimum * 1e3, runs: timing.runs, lanes: lanes.count,
      imagesPerSecond: Double(batch) / timing.median,
      residentBytes: ProcessMemory.peakResidentByteCount)
    if json { return try Output.json(report) }
    try Output.line(
      "\(files.count) files to \(size) × \(size): \(decimal(report.imagesPerSecond, 1)) images/s, "
        + "median \(decimal(report.medianMs / Double(batch), 3)) ms an image, shortest "
        + "\(decimal(report.minMs / Double(batch), 3)) ms, lanes: \(report.lanes)")
  }
}

/// The files of a folder in the order of their names, each decoded when it is asked for.
private struct PhotographFiles: ImageSource {
  let paths: [String]
  let imageShape: Shape
  let crop = RandomResizedCrop()

  init(folder: String, size: Int) throws {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: folder))?.filter { name in
      ["jpg", "jpeg", "png"].contains { name.lowercased().hasSuffix(".\($0)") }
    }
    guard let names, !names.isEmpty else { throw ToolError("\(folder) is no folder with images") }
    paths = names.sorted().map { "\(folder)/\($0)" }
    imageShape = [size, size, 3]
  }

  var labels: [Int64] { [Int64](repeating: 0, count: paths.count) }
  var count: Int { paths.count }
  var classCount: Int { 1 }
  var classNames: [String] { [] }
  var elementType: ElementType { .uint8 }
  var isInMemory: Bool { false }
  var preprocessing: ImagePreprocessing? { nil }

  func measuredNormalization() throws -> Normalization { .imageNet }

  func withPixels<Result>(
    of sample: Int, in epoch: EpochKey?, _ body: (UnsafeRawBufferPointer) throws -> Result
  ) throws -> Result {
    let file = try ImageFile(paths[sample])
    let view = epoch.map {
      crop.view(
        height: file.height, width: file.width, sample: sample, random: $0.random("crop"))
    }
    let image = try file.decode(
      view ?? .whole(height: file.height, width: file.width), height: imageShape[0],
      width: imageShape[1], channels: .rgb)
    return try image.bytes.withUnsafeBytes(body)
  }
}
