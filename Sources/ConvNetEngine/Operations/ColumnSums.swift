import CConvNetLoops
import OpenBLAS

/// Two sums for every channel by one `sgemv` of ones: a loop writes the terms of both side by side, a few
/// rows at a time, which stay in the first-level cache until they are added up.
///
/// Measured in times that reading x takes: 2.0 to 2.2, of which 1.4 go into the terms, where rows of 64 to
/// 192 floats are added up, against 2.4 and more with a loop and an `sgemv` for each sum. So wider rows are
/// cut into panels of 64, and narrow ones are put together.
struct ColumnSums {
  let channels: Int
  /// Rows of at most 32 channels that are taken as one; a power of 2, so that halves fold.
  private let group: Int

  init(channels: Int) {
    self.channels = channels
    var group = 1
    while channels > 0, 2 * group * channels <= 64 { group *= 2 }
    self.group = group
  }

  /// Floats of one row.
  private var width: Int { group * channels }
  /// Columns added up together.
  ///
  /// With more than some 230, twice that in one `sgemv`, OpenBLAS would take a buffer under a lock, for
  /// which lanes then wait: two took 1.4 times as long as one.
  private var panel: Int { width <= Self.widest ? width : 64 }
  /// Both kinds of terms, 16 KiB.
  private static let termCount = 4096
  private static let ones = 128
  private static let widest = 192

  /// Rows whose float sums are merged in Double: 128 for every column.
  var blockRows: Int { ChannelLayout.blockRows * group }

  /// Floats that a lane needs.
  static let scratchCount = termCount + ones + 2 * widest + 64

  /// first = Σ of the first kind of terms over the rows and second = Σ of the second, both overwritten.
  ///
  /// - Parameters:
  ///   - vector: what the terms need of every channel.
  ///   - write: writes rows of terms from the element `start` on, of rows `row` apart.
  func sum(
    rows: Int, vector: UnsafePointer<Float>, first: UnsafeMutablePointer<Float>,
    second: UnsafeMutablePointer<Float>, scratch terms: UnsafeMutablePointer<Float>,
    write: (
      _ terms: UnsafeMutablePointer<Float>, _ start: Int, _ row: Int,
      _ vector: UnsafePointer<Float>, _ rows: Int, _ width: Int
    ) -> Void
  ) {
    guard channels > 0 else { return }
    let ones = terms + Self.termCount
    let sums = ones + Self.ones
    let wide = sums + 2 * Self.widest
    cnl_fill(ones, 1, Self.ones)
    /// Leaves 2·width sums behind.
    func add(
      rows: Int, from start: Int, row: Int, _ vector: UnsafePointer<Float>, width: Int
    ) {
      // Cleared, because what beta = 0 does to NaN is up to OpenBLAS's version.
      cnl_fill(sums, 0, 2 * width)
      let most = min(Self.ones, Self.termCount / (2 * width))
      for position in stride(from: 0, to: rows, by: most) {
        let count = min(most, rows - position)
        write(terms, start + position * row, row, vector, count, width)
        UncheckedBLAS.sgemv(
          transpose: true, rows: count, columns: 2 * width, a: terms, lda: 2 * width, x: ones,
          beta: 1, y: sums)
      }
    }
    guard group > 1 else {
      for column in stride(from: 0, to: channels, by: panel) {
        let count = min(panel, channels - column)
        add(rows: rows, from: column, row: channels, vector + column, width: count)
        cnl_copy_rows(first + column, count, sums, count, 1, count)
        cnl_copy_rows(second + column, count, sums + count, count, 1, count)
      }
      return
    }
    cnl_copy_rows(wide, channels, vector, 0, group, channels)
    add(rows: rows / group, from: 0, row: width, wide, width: width)
    var half = width / 2
    while half >= channels {
      cnl_accumulate(sums, sums + half, half)
      cnl_accumulate(sums + width, sums + width + half, half)
      half /= 2
    }
    cnl_copy_rows(first, channels, sums, channels, 1, channels)
    cnl_copy_rows(second, channels, sums + width, channels, 1, channels)
    let rest = rows % group
    guard rest > 0 else { return }
    add(rows: rest, from: (rows - rest) * channels, row: channels, vector, width: channels)
    cnl_accumulate(first, sums, channels)
    cnl_accumulate(second, sums + channels, channels)
  }
}
