/// The bytes behind tensors, aligned to 64 (a cache line and a vector of AVX-512).
///
/// Sendable because it is never changed while shared. `Tensor` writes only to a storage that
/// `isKnownUniquelyReferenced` says it alone refers to, and copies it first otherwise; parameter stores,
/// workspaces and accumulators keep theirs to themselves. Deallocation happens once, after the last
/// reference is gone.
@safe
package final class TensorStorage: @unchecked Sendable {
  /// The first byte; valid for `byteCount` bytes.
  package let base: UnsafeMutableRawPointer
  /// The bytes asked for; the allocation may be longer by less than 64.
  package let byteCount: Int

  /// Allocates zeroed bytes.
  package init(byteCount: Int) {
    self.byteCount = byteCount
    let rounded = (byteCount + 63) / 64 * 64
    unsafe base = .allocate(byteCount: max(rounded, 64), alignment: 64)
    unsafe base.initializeMemory(as: UInt8.self, repeating: 0, count: max(rounded, 64))
  }

  /// Allocates a copy of another storage.
  package convenience init(copying other: TensorStorage) {
    self.init(byteCount: other.byteCount)
    unsafe base.copyMemory(from: other.base, byteCount: byteCount)
  }

  deinit {
    unsafe base.deallocate()
  }
}
