import CConvNetLoops

/// Geometries that straddle every special path: strides, dilation, asymmetric and missing padding,
/// kernels larger than the image, windows partly and wholly outside.
enum WindowCases {
  static func window(
    _ height: Int, _ width: Int, kernel: (Int, Int), stride: Int = 1, dilation: Int = 1,
    pad: (top: Int, left: Int, bottom: Int, right: Int)
  ) -> cnl_window {
    let reach = ((kernel.0 - 1) * dilation + 1, (kernel.1 - 1) * dilation + 1)
    return cnl_window(
      height: height, width: width, channels: 0, kernelHeight: kernel.0, kernelWidth: kernel.1,
      strideHeight: stride, strideWidth: stride, dilationHeight: dilation, dilationWidth: dilation,
      padTop: pad.top, padLeft: pad.left,
      outputHeight: (height + pad.top + pad.bottom - reach.0) / stride + 1,
      outputWidth: (width + pad.left + pad.right - reach.1) / stride + 1)
  }

  static let all: [cnl_window] = [
    window(5, 6, kernel: (1, 1), pad: (0, 0, 0, 0)),
    window(7, 9, kernel: (3, 3), pad: (1, 1, 1, 1)),
    window(6, 5, kernel: (3, 3), pad: (0, 0, 0, 0)),
    window(7, 8, kernel: (3, 3), stride: 2, pad: (1, 1, 1, 1)),
    window(8, 13, kernel: (3, 3), stride: 2, pad: (0, 0, 1, 1)),
    window(7, 7, kernel: (3, 3), dilation: 2, pad: (2, 2, 2, 2)),
    window(6, 7, kernel: (5, 4), stride: 3, pad: (2, 1, 2, 2)),
    window(9, 8, kernel: (7, 7), stride: 2, pad: (3, 3, 3, 3)),
    window(2, 1, kernel: (3, 3), pad: (1, 1, 1, 1)),
    window(4, 4, kernel: (2, 2), stride: 2, pad: (0, 0, 0, 0)),
    window(3, 3, kernel: (3, 2), pad: (4, 3, 4, 3)),
    window(3, 20, kernel: (3, 3), pad: (1, 1, 1, 1)),
    window(2, 5, kernel: (3, 3), pad: (1, 1, 1, 1)),
    window(1, 6, kernel: (3, 3), pad: (1, 1, 1, 1)),
    window(5, 12, kernel: (3, 3), stride: 2, pad: (1, 1, 0, 0)),
    window(6, 5, kernel: (3, 3), pad: (2, 2, 0, 0)),
  ]

  static let channels = [1, 3, 8, 16, 19, 33, 64, 70]
}

extension cnl_window {
  func with(channels: Int) -> cnl_window {
    var w = self
    w.channels = channels
    return w
  }

  var inputCount: Int { height * width * channels }
  var outputCount: Int { outputHeight * outputWidth * channels }
  var taps: Int { kernelHeight * kernelWidth }
  var label: String {
    "\(height)×\(width)×\(channels), \(kernelHeight)×\(kernelWidth), stride \(strideHeight), "
      + "dilation \(dilationHeight), pad \(padTop),\(padLeft)"
  }

  /// Index of the pixel under a tap in units of pixels, or nil outside.
  func pixel(_ oy: Int, _ ox: Int, _ tap: Int) -> Int? {
    let iy = oy * strideHeight - padTop + tap / kernelWidth * dilationHeight
    let ix = ox * strideWidth - padLeft + tap % kernelWidth * dilationWidth
    return 0..<height ~= iy && 0..<width ~= ix ? iy * width + ix : nil
  }

  /// Taps of an output row or column that fall inside.
  func rowsInside(_ row: Int) -> Int {
    (0..<kernelHeight).count { 0..<height ~= row * strideHeight - padTop + $0 * dilationHeight }
  }

  func columnsInside(_ column: Int) -> Int {
    (0..<kernelWidth).count { 0..<width ~= column * strideWidth - padLeft + $0 * dilationWidth }
  }

  /// Visits (output pixel, tap, input pixel) of every tap inside, in window order.
  func forEachTap(_ body: (Int, Int, Int) -> Void) {
    for o in 0..<outputHeight * outputWidth {
      for tap in 0..<taps {
        if let p = pixel(o / outputWidth, o % outputWidth, tap) { body(o, tap, p) }
      }
    }
  }
}
