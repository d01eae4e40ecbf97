/// How the rows of an im2col matrix are cut: tiles that fit the scratch of a lane, and, where there are few
/// of them, groups of panels.
struct RowTiles: Sendable {
  /// The scratch a lane may use for one tile, in bytes.
  static let scratchLimit = 1 << 20

  /// Floats from row to row of a tile; never a multiple of 4 KiB, which would put all rows into the same
  /// cache sets.
  let rowStride: Int
  let rows: Pieces
  let panelGroups: Pieces

  /// - Parameters:
  ///   - rowCount: rows in all.
  ///   - depth: floats of a row.
  ///   - panels: panels of the packed matrix.
  ///   - block: rows of one call of sgemm.
  init(rowCount: Int, depth: Int, panels: Int, block: Int) {
    rowStride = depth % 1024 == 0 && depth > 0 ? depth + 16 : depth
    let rowBytes = max(rowStride, 1) * 4
    let target = (384 << 10) / rowBytes
    let most = max(1, RowTiles.scratchLimit / rowBytes)
    let size = min(most, max(min(target / block, 8) * block, min(block, most)))
    rows = Pieces(rowCount, size: size)
    panelGroups = Pieces(panels: panels, beside: rows.count)
  }

  var pieces: Int { rows.count * panelGroups.count }
  var byteCount: Int { rows.size * rowStride * 4 }

  /// The rows and panels of a piece.
  func ranges(_ piece: Int) -> (rows: Range<Int>, panels: Range<Int>) {
    (rows.range(piece / panelGroups.count), panelGroups.range(piece % panelGroups.count))
  }
}
