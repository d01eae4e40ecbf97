import CConvNetLoops
import ConvNetGraph

/// How a 3 × 3 convolution of stride 1 is cut into tiles for Winograd's minimal filtering
/// F(tileHeight × tileWidth, 3 × 3) (Lavin & Gray 2016).
struct WinogradTiles: Sendable {
  let shape: ConvolutionShape
  /// Output rows and columns of a tile, 2 or 4 each.
  let height: Int
  let width: Int
  let tilesAcross: Int
  let tilesDown: Int

  init(_ shape: ConvolutionShape) {
    // Where the transformed filters are larger than a cache, reading them takes as long as
    // multiplying some six tiles more (measured at 7 × 7 × 512 on one lane: 36 planes of 4 tiles
    // 1.06 ms, 24 of 8 tiles 0.90 ms, 16 of 16 tiles 0.87 ms).
    self.init(shape, images: 1, reading: shape.channels * shape.filters >= 1 << 17 ? 9 : 0)
  }

  /// The tiles for a filter that is transformed in every run, which takes as long as 12 tiles more.
  init(trained shape: ConvolutionShape) {
    self.init(shape, images: shape.images, reading: 20)
  }

  /// The tiles for the filter's gradient.
  init(gradientOf shape: ConvolutionShape) {
    self.init(shape, images: shape.images, reading: Self.gradientReading)
  }

  /// The tiles of the least work: products are planes · tiles, and every plane takes as long as
  /// `reading` tiles besides.
  private init(_ shape: ConvolutionShape, images: Int, reading: Int) {
    var best = (height: 4, width: 4)
    var least = Int.max
    for (height, width) in [(4, 4), (4, 2), (2, 4), (2, 2)] {
      let down = (shape.outputHeight + height - 1) / height
      let across = (shape.outputWidth + width - 1) / width
      let work = (height + 2) * (width + 2) * (down * across * images + reading)
      if work < least { (best, least) = ((height, width), work) }
    }
    (height, width) = best
    self.shape = shape
    tilesAcross = (shape.outputWidth + width - 1) / width
    tilesDown = (shape.outputHeight + height - 1) / height
  }

  /// Points of a transformed tile, each a matrix product of its own.
  var planes: Int { (height + 2) * (width + 2) }
  var tilesPerImage: Int { tilesDown * tilesAcross }
  /// Tiles of all images.
  var count: Int { shape.images * tilesPerImage }
  var name: String { "F(\(height)×\(width),3×3)" }

  /// What transforming dU back to the taps takes, in tiles of one product.
  private static let gradientReading = 12
  /// The work of the filter's gradient in products of channels and filters.
  var gradientWork: Int { planes * (count + Self.gradientReading) }

  /// The geometry as the C loops take it.
  var loops: cnl_winograd {
    cnl_winograd(
      height: shape.height, width: shape.width, channels: shape.channels,
      padTop: shape.vertical.before, padLeft: shape.horizontal.before,
      outputHeight: shape.outputHeight, outputWidth: shape.outputWidth, filters: shape.filters,
      tileHeight: height, tileWidth: width, tilesAcross: tilesAcross)
  }

  /// Calls a closure for every image that tiles counted through all images lie in, with the tiles'
  /// numbers within it.
  func forEachImage(
    _ tiles: Range<Int>, _ body: (_ image: Int, _ first: Int, _ count: Int) -> Void
  ) {
    var tile = tiles.lowerBound
    while tile < tiles.upperBound {
      let first = tile % tilesPerImage
      let count = min(tiles.upperBound - tile, tilesPerImage - first)
      body(tile / tilesPerImage, first, count)
      tile += count
    }
  }

  /// Calls a closure for every range of pixels, counted through all images, that some tiles cover: whole
  /// rows of tiles at once, parts of them pixel row by pixel row.
  func forEachRows(_ tiles: Range<Int>, _ body: (Range<Int>) -> Void) {
    forEachImage(tiles) { image, first, count in
      let (origin, across) = (image * shape.pixels, shape.outputWidth)
      var tile = first
      while tile < first + count {
        let (top, left) = (tile / tilesAcross * height, tile % tilesAcross)
        let whole = left == 0 ? (first + count - tile) / tilesAcross : 0
        if whole > 0 {
          let bottom = min(top + whole * height, shape.outputHeight)
          body(origin + top * across..<origin + bottom * across)
          tile += whole * tilesAcross
        } else {
          let part = min(tilesAcross - left, first + count - tile)
          let columns = left * width..<min((left + part) * width, across)
          for y in top..<min(top + height, shape.outputHeight) {
            let row = origin + y * across
            body(row + columns.lowerBound..<row + columns.upperBound)
          }
          tile += part
        }
      }
    }
  }

  /// The pixels that each of some ranges of tiles covers.
  func counts(_ blocks: Pieces) -> [Int] {
    (0..<blocks.count).map {
      var count = 0
      forEachRows(blocks.range($0)) { count += $0.count }
      return count
    }
  }

  /// v = Bᵀ d B of some tiles, [plane][tile][channel].
  func transformInput(
    _ tiles: Range<Int>, x: UnsafePointer<Float>, zeros: UnsafePointer<Float>,
    v: UnsafeMutablePointer<Float>, planeStride: Int
  ) {
    var loops = loops
    let size = shape.height * shape.width * shape.channels
    forEachImage(tiles) { image, first, count in
      let done = image * tilesPerImage + first - tiles.lowerBound
      cnl_winograd_input(
        v + done * shape.channels, planeStride, x + image * size, zeros, &loops, first, count)
    }
  }

  private var panels: PanelColumns { PanelColumns(shape.filters) }
  /// Floats from plane to plane of a panel of the transformed filter, which lies
  /// [panel][plane][channel][filter of the panel].
  func filterPlane(_ panel: Int) -> Int {
    Self.planeStride(shape.channels * panels.range(panel).count)
  }
  /// Floats before a panel of the transformed filter.
  func filterOffset(_ panel: Int) -> Int { panel * planes * filterPlane(0) }
  /// Floats of the transformed filter.
  var filterCount: Int { filterOffset(panels.count - 1) + planes * filterPlane(panels.count - 1) }

  /// Floats from plane to plane where each holds so many; never a multiple of 4 KiB, which would put
  /// all planes into the same cache sets.
  static func planeStride(_ count: Int) -> Int { count % 1024 == 0 ? count + 16 : count }
}

/// The products and the output transform of tiles whose input transform is done: one panel of 64
/// filters at a time, so that what is multiplied is transformed while it is in the second-level cache.
struct WinogradProduct: Sendable {
  let tiles: WinogradTiles
  let kernels: PanelKernels
  let panels: PanelColumns
  let low: Float
  let high: Float

  init(tiles: WinogradTiles, kernels: PanelKernels, epilogue: Epilogue) {
    self.tiles = tiles
    self.kernels = kernels
    panels = PanelColumns(tiles.shape.filters)
    (low, high) = (epilogue.low, epilogue.high)
  }

  var panelCount: Int { panels.count }
  /// Floats of scratch for so many tiles.
  func scratchCount(_ tileCount: Int) -> Int {
    tiles.planes * WinogradTiles.planeStride(tileCount * PanelKernels.width)
  }

  /// Computes one panel of filters for some tiles.
  ///
  /// - Parameters:
  ///   - v: the transformed input from the first of these tiles on.
  ///   - m: scratch.
  ///   - residual: added to the result, laid out as `y`; nil for none.
  func run(
    panel: Int, range: Range<Int>, v: UnsafePointer<Float>, planeStride: Int,
    packed: UnsafePointer<Float>, m: UnsafeMutablePointer<Float>, bias: UnsafePointer<Float>,
    residual: UnsafePointer<Float>?, y: UnsafeMutablePointer<Float>
  ) {
    let shape = tiles.shape
    let (column, width) = (panels.range(panel).lowerBound, panels.range(panel).count)
    let product = PanelProduct(
      depth: shape.channels, columns: width, kernels: kernels, epilogue: .none, hasBias: false)
    let (u, filterPlane) = (packed + tiles.filterOffset(panel), tiles.filterPlane(panel))
    let stride = WinogradTiles.planeStride(range.count * width)
    for plane in 0..<tiles.planes {
      product.run(
        panels: 0..<1, rows: range.count, a: v + plane * planeStride, lda: shape.channels,
        b: u + plane * filterPlane, c: m + plane * stride, ldc: width, bias: bias,
        residual: nil)
    }
    var loops = tiles.loops
    tiles.forEachImage(range) { image, first, count in
      let done = image * tiles.tilesPerImage + first - range.lowerBound
      let offset = image * shape.pixels * shape.filters + column
      if let residual {
        cnl_winograd_output_add(
          y + offset, residual + offset, m + done * width, stride, width, bias + column, low, high,
          &loops, width, first, count)
      } else {
        cnl_winograd_output(
          y + offset, m + done * width, stride, width, bias + column, low, high, &loops, width,
          first, count)
      }
    }
  }
}
