package import ConvNetEngine
package import ConvNetGraph

/// Writes normalised and perhaps augmented images of a batch where the network reads them.
package struct BatchAssembler {
  let data: TrainingData
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
    data: TrainingData, normalization: Normalization?, augmentation: Augmentation? = nil
  ) throws {
    let normalization =
      normalization ?? .scaling(data.images.elementType, channels: data.channels)
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
  ///   - random: the generator of the epoch's augmentation; without it images stay as they are.
  package func assemble(
    _ samples: ArraySlice<Int>, into output: UnsafeMutableBufferPointer<Float>,
    random: Philox? = nil, lanes: Lanes
  ) {
    let imageCount = data.imageCount
    guard output.count == samples.count * imageCount else {
      fatalError("A batch of \(samples.count) × \(imageCount) does not fill \(output.count).")
    }
    guard let start = output.baseAddress, !output.isEmpty else { return }
    let isSmall = output.count < Self.parallelCount
    let perPiece = isSmall ? samples.count : Self.imagesPerPiece
    let pieces = (samples.count + perPiece - 1) / perPiece
    data.images.withBytes { bytes in
      guard let base = bytes.baseAddress else { return }
      // Pieces write disjoint images and read what nobody changes.
      nonisolated(unsafe) let (source, start) = (base, start)
      lanes.run(pieces: pieces) { piece, _ in
        for i in piece * perPiece..<min((piece + 1) * perPiece, samples.count) {
          let sample = samples[samples.startIndex + i]
          let change = random.flatMap { augmentation?.change(sample: sample, random: $0) }
          let destination = start + i * imageCount
          switch data.images.elementType {
          case .uint8:
            let image = source.assumingMemoryBound(to: UInt8.self) + sample * imageCount
            write(image, change, to: destination) { Float($0) }
          default:
            let image = source.assumingMemoryBound(to: Float.self) + sample * imageCount
            write(image, change, to: destination) { $0 }
          }
        }
      }
    }
  }

  /// One image: y = factor·x + offset; what comes in from outside is x = 0.
  @inline(__always)
  private func write<Element>(
    _ image: UnsafePointer<Element>, _ change: Augmentation.Change?,
    to output: UnsafeMutablePointer<Float>, _ number: (Element) -> Float
  ) {
    let shape = data.images.shape
    let (height, width, channels) = (shape[1], shape[2], shape[3])
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
