import CConvNetLoops
import ConvNetFormats
public import ConvNetTraining

extension PixelImage {
  /// Resized to `height` × `width`, wholly or a part of it.
  ///
  /// Rows are resampled first, then columns, and rounded to bytes after each. As in Pillow, pixels
  /// beside the box count where the filter reaches them, and the result has the same bits as
  /// `Image.resize((width, height), filter, box)`. A result without pixels, or a box that is empty or does
  /// not lie inside, stops the program.
  ///
  /// - Parameters:
  ///   - height: rows of the result.
  ///   - width: pixels of its rows.
  ///   - filter: how pixels are made.
  ///   - box: the part that is resized, within the image; all of it by default.
  ///   - mirrored: whether the result is mirrored, left to right, which costs nothing here.
  public func resized(
    height: Int, width: Int, filter: ResamplingFilter = .bilinear, box: ImageBox? = nil,
    mirrored: Bool = false
  ) -> PixelImage {
    let box = box ?? ImageView.whole(height: self.height, width: self.width).box
    guard height > 0, width > 0, box.lies(inHeight: self.height, width: self.width) else {
      fatalError(
        "The part \(box) of an image of \(self.height) × \(self.width) cannot be resized to "
          + "\(height) × \(width) pixels.")
    }
    let across = ResamplingWeights(
      filter, inputs: self.width, start: box.left, length: box.width, outputs: width,
      reversed: mirrored)
    let down = ResamplingWeights(
      filter, inputs: self.height, start: box.top, length: box.height, outputs: height)
    let rows = down.range
    let row = width * channels
    let wide = unsafe [UInt8](unsafeUninitializedCapacity: rows.count * row) { output, count in
      unsafe bytes.withUnsafeBufferPointer { input in
        guard let from = input.baseAddress, let to = output.baseAddress else {
          return
        }
        unsafe cnl_resample_columns(
          to, row, from + rows.lowerBound * rowCount, rowCount, self.width, across.spans,
          across.weights, across.maximum, rows.count, width, channels)
      }
      count = rows.count * row
    }
    let result = unsafe [UInt8](unsafeUninitializedCapacity: height * row) { output, count in
      unsafe wide.withUnsafeBufferPointer { input in
        unsafe down.weights.withUnsafeBufferPointer { weights in
          guard let from = input.baseAddress, let to = output.baseAddress,
            let weights = weights.baseAddress
          else { return }
          for y in 0..<height {
            let first = down.spans[2 * y] - rows.lowerBound
            unsafe cnl_resample_rows(
              to + y * row, from + first * row, row, weights + y * down.maximum,
              down.spans[2 * y + 1], row)
          }
        }
      }
      count = height * row
    }
    return PixelImage(height: height, width: width, channels: channels, bytes: result)
  }

  /// Resized in proportion until the shorter side has `side` pixels; the longer one is cut down to
  /// whole pixels, as torchvision's Resize does.
  ///
  /// - Throws: `TrainingError` where `side` is below 1, or the longer side would pass 65 536 pixels, as it
  ///   does for an image of a few kilobytes whose sides differ enough.
  public func resized(
    shortSide side: Int, filter: ResamplingFilter = .bilinear
  ) throws -> PixelImage {
    let limit = 1 << 16
    let extents =
      (1...limit).contains(side)
      ? Self.extents(shortSide: side, height: height, width: width) : nil
    guard let extents, max(extents.height, extents.width) <= limit else {
      throw TrainingError(
        .invalidOption,
        "\(height) × \(width) pixels cannot be resized to a short side of \(side)")
    }
    return resized(height: extents.height, width: extents.width, filter: filter)
  }

  /// The extents in proportion whose shorter one is `side`.
  static func extents(shortSide side: Int, height: Int, width: Int) -> (height: Int, width: Int) {
    let long = max(
      Int(Double(side) * Double(max(height, width)) / Double(min(height, width))), side)
    return height <= width ? (side, long) : (long, side)
  }
}

extension ImageFile {
  /// Decodes what is seen through a view, resized to `height` × `width`, with as little work as it takes.
  ///
  /// Where the box has at least twice the extents of the result, JPEG is decoded at a half, a quarter or
  /// an eighth of its extents, as Pillow's `draft` does: an average over squares of pixels in place of
  /// a part of the filter's. Only the box is resized.
  ///
  /// - Parameters:
  ///   - view: a part of the upright image, within its `height` and `width`.
  ///   - height: rows of the result; an extent below 1 stops the program.
  ///   - width: pixels of its rows.
  ///   - channels: what the result is to have.
  ///   - filter: how pixels are made.
  /// - Throws: `FileError`, of code `.mismatched` where the view does not lie in the image.
  public func decode(
    _ view: ImageView, height: Int, width: Int, channels: Channels = .asStored,
    filter: ResamplingFilter = .bilinear
  ) throws -> PixelImage {
    let box = view.box
    guard box.lies(inHeight: self.height, width: self.width) else {
      throw FileError(
        .mismatched, "has \(self.height) × \(self.width) pixels, too few for \(box)", at: path)
    }
    let reduction = reduction(of: box, to: height, width)
    let image = try decode(channels: channels, reduction: reduction)
    let scaled = box.scaled(
      vertically: Double(image.height) / Double(self.height),
      horizontally: Double(image.width) / Double(self.width))
    return image.resized(
      height: height, width: width, filter: filter, box: reduction == 1 ? box : scaled,
      mirrored: view.isMirrored)
  }

  /// The largest of 8, 4, 2 and 1 that leaves so much of a box.
  private func reduction(of box: ImageBox, to height: Int, _ width: Int) -> Int {
    guard format == .jpeg else { return 1 }
    let most = min(box.height / Double(height), box.width / Double(width))
    return [8, 4, 2].first { Double($0) <= most } ?? 1
  }
}
