package import ConvNetEngine
import ConvNetGraph
import Synchronization

/// Writes normalised and perhaps augmented images of a batch where the network reads them.
package struct BatchAssembler: Sendable {
  let data: any ImageSource
  private let preparation: ImagePreparation

  /// Below so many elements lanes are not woken.
  static let parallelCount = 1 << 15
  /// Images of a piece of work.
  static let imagesPerPiece = 8

  /// Makes an assembler.
  ///
  /// - Throws: `TrainingError` where the normalisation has another number of channels, or a number of
  ///   the augmentation is outside its range.
  package init(
    data: any ImageSource, normalization: Normalization?, augmentation: Augmentation? = nil
  ) throws {
    self.data = data
    preparation = try ImagePreparation(
      shape: data.imageShape, elementType: data.elementType, normalization: normalization,
      augmentation: augmentation)
  }

  /// Fills `[samples.count, H, W, C]` with images.
  ///
  /// - Parameters:
  ///   - output: room for exactly these images.
  ///   - samples: which ones, in order.
  ///   - epoch: the pass of a training; without it nothing is random and images stay as they are.
  /// - Throws: the error of the first of these samples that cannot be read.
  package func assemble(
    _ samples: ArraySlice<Int>, into output: UnsafeMutableBufferPointer<Float>,
    in epoch: EpochKey? = nil, lanes: Lanes
  ) throws {
    let imageCount = data.imageShape.count
    guard output.count == samples.count * imageCount else {
      fatalError("A batch of \(samples.count) × \(imageCount) does not fill \(output.count).")
    }
    guard let start = output.baseAddress, !output.isEmpty else { return }
    let isSmall = output.count < Self.parallelCount
    let perPiece = isSmall ? samples.count : Self.imagesPerPiece
    let pieces = (samples.count + perPiece - 1) / perPiece
    let failure = Mutex<(place: Int, error: any Error)?>(nil)
    // Pieces write disjoint images and read what nobody changes.
    nonisolated(unsafe) let first = start
    lanes.run(pieces: pieces) { piece, _ in
      for i in piece * perPiece..<min((piece + 1) * perPiece, samples.count) {
        do {
          try assembleImage(
            samples[samples.startIndex + i], in: epoch, to: first + i * imageCount)
        } catch {
          failure.withLock { if i < $0?.place ?? .max { $0 = (i, error) } }
        }
      }
    }
    if let failure = failure.withLock({ $0 }) { throw failure.error }
  }

  /// Writes one image, `[H, W, C]`; called by lanes and by the threads that read ahead.
  func assembleImage(
    _ sample: Int, in epoch: EpochKey?, to output: UnsafeMutablePointer<Float>
  ) throws {
    try data.withPixels(of: sample, in: epoch) { bytes in
      guard let base = bytes.baseAddress else { return }
      switch data.elementType {
      case .uint8:
        let image = base.assumingMemoryBound(to: UInt8.self)
        preparation.prepare(image, sample: sample, in: epoch, to: output) { Float($0) }
      default:
        let image = base.assumingMemoryBound(to: Float.self)
        preparation.prepare(image, sample: sample, in: epoch, to: output) { $0 }
      }
    }
  }
}
