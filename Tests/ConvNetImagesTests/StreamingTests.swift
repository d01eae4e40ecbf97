import ConvNetEngine
import ConvNetGraph
import ConvNetImages
import ConvNetTraining
import Foundation
import Testing

@Suite struct StreamingTests {
  /// The most memory that this process has had, in bytes.
  private static func peak() throws -> Int {
    let status = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
    let line = status.split(separator: "\n").first { $0.hasPrefix("VmHWM:") } ?? ""
    return (Int(line.split(separator: " ").dropFirst().first ?? "") ?? 0) << 10
  }

  /// An epoch's images take 59 MB as floats and go through room for 3 MB; 16 MB more are allowed for
  /// what decoding needs on each thread.
  @Test func anEpochTakesNoMoreThanWhatIsReadAhead() async {
    await #expect(processExitsWith: .success) {
      let count = 300
      let folder = try PhotoFolder(["a/0.png": ramp(height: 64, width: 80)])
      for index in 1..<count { folder.link("a/\(index).png", to: "0.png") }
      let images = try ImageFolder(
        folder.path, preprocessing: ImagePreprocessing(height: 128))
      let assembler = try BatchAssembler(data: images, normalization: nil)
      var batch = [Float](repeating: 0, count: 8 * images.imageShape.count)
      var peaks: [Int] = []
      for epoch in 0..<2 {
        let loading = Loading(threads: 2)
        let loader = try BatchLoader(
          assembler, order: epoch == 0 ? 0..<24 : 0..<count, batchSize: 8,
          epoch: EpochKey(seed: 1, epoch: epoch), lanes: Lanes(count: 1), loading: loading)
        while loader.remaining > 0 {
          _ = try batch.withUnsafeMutableBufferPointer { try loader.next(into: $0) }
        }
        peaks.append(try StreamingTests.peak())
      }
      guard images.count == count, peaks[1] - peaks[0] < 16 << 20 else {
        fatalError("Memory grew from \(peaks[0]) to \(peaks[1]) bytes.")
      }
    }
  }
}
