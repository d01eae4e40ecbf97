package import ConvNetEngine
import ConvNetGraph
import Synchronization

/// Writes normalised and perhaps augmented images of a batch where the network reads them.
package struct BatchAssembler: Sendable {
  let data: any ImageSource
  let augmentation: Augmentation?
  private let factors: [Float]
  private let offsets: [Float]

  /// Below so many elements lanes are not woken.
  static let parallelCount = 1 << 15
  /// Images of a piece of work.
  static let imagesPerPiece = 8

  /// Makes an assembler.
  ///
  /// - Throws: `TrainingError` where the normalisation has another number of channels.
  package init(
    data: any ImageSource, normalization: Normalization?, augmentation: Augmentation? = nil
  ) throws {
    let normalization =
      normalization ?? .scaling(data.elementType, channels: data.channels)
    guard normalization.mean.count == data.channels else {
      throw TrainingError(
        .invalidData,
        "images of \(data.channels) channels cannot be normalised by \(normalization.mean.count) "
          + "means")
    }
    guard (augmentation?.shift ?? 0) >= 0 else {
      throw TrainingError(.invalidOption, "images cannot move by up to \(augmentation?.shift ?? 0)")
    }
    self.data = data
    self.augmentation = augmentation
    (factors, offsets) = normalization.coefficients
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
    let change = epoch.flatMap {
      augmentation?.change(sample: sample, random: Augmentation.random($0))
    }
    try data.withPixels(of: sample, in: epoch) { bytes in
      guard let base = bytes.baseAddress else { return }
      switch data.elementType {
      case .uint8: write(base.assumingMemoryBound(to: UInt8.self), change, to: output) { Float($0) }
      default: write(base.assumingMemoryBound(to: Float.self), change, to: output) { $0 }
      }
    }
  }

  /// One image: y = factor·x + offset; what comes in from outside is x = 0.
  @inline(__always)
  private func write<Element>(
    _ image: UnsafePointer<Element>, _ change: Augmentation.Change?,
    to output: UnsafeMutablePointer<Float>, _ number: (Element) -> Float
  ) {
    let shape = data.imageShape
    let (height, width, channels) = (shape[0], shape[1], shape[2])
    factors.withUnsafeBufferPointer { factors in
      offsets.withUnsafeBufferPointer { offsets in
        guard let change, change != Augmentation.Change() else {
          for c in 0..<channels {
            let (a, b) = (factors[c], offsets[c])
            for i in stride(from: c, to: height * width * channels, by: channels) {
              output[i] = a * number(image[i]) + b
            }
          }
          return
        }
        for h in 0..<height {
          for w in 0..<width {
            let from = (h: h + change.dy, w: w + change.dx)
            let inside = from.h >= 0 && from.h < height && from.w >= 0 && from.w < width
            let column = change.mirrors ? width - 1 - from.w : from.w
            for c in 0..<channels {
              let x = inside ? number(image[(from.h * width + column) * channels + c]) : 0
              output[(h * width + w) * channels + c] = factors[c] * x + offsets[c]
            }
          }
        }
      }
    }
  }
}
