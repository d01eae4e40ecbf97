import Glibc

/// The bytes behind tensors, aligned to 64 (a cache line and a vector of AVX-512).
///
/// Large ones are pages of their own: they are zero without being written, go back to the system as soon
/// as nobody needs them, and are made of huge pages where the system has them, which spares the processor
/// most of the page table when weights are streamed.
///
/// Sendable because it is never changed while shared. `Tensor` writes only to a storage that
/// `isKnownUniquelyReferenced` says it alone refers to, and copies it first otherwise; parameter stores,
/// workspaces and accumulators keep theirs to themselves. Deallocation happens once, after the last
/// reference is gone.
@safe
package final class TensorStorage: @unchecked Sendable {
  /// The first byte; valid for `byteCount` bytes.
  package let base: UnsafeMutableRawPointer
  /// The bytes asked for; the allocation may be longer by less than 64, or a page.
  package let byteCount: Int

  /// Bytes of the machine's memory, to refuse what cannot be had; the largest number where the system does
  /// not tell.
  package static let memoryByteCount: Int = {
    let (bytes, overflow) = sysconf(Int32(_SC_PHYS_PAGES))
      .multipliedReportingOverflow(by: sysconf(Int32(_SC_PAGESIZE)))
    return overflow || bytes <= 0 ? .max : bytes
  }()

  /// The size of a huge page on x86-64 and, with pages of 4 KiB, on aarch64.
  private static let hugePage = 2 << 20

  /// Allocates zeroed bytes.
  package init(byteCount: Int) {
    self.byteCount = byteCount
    if byteCount >= Self.hugePage {
      unsafe base = Self.map(byteCount)
    } else {
      let rounded = max((byteCount + 63) / 64 * 64, 64)
      unsafe base = .allocate(byteCount: rounded, alignment: 64)
      unsafe base.initializeMemory(as: UInt8.self, repeating: 0, count: rounded)
    }
  }

  /// Allocates a copy of another storage.
  package convenience init(copying other: TensorStorage) {
    self.init(byteCount: other.byteCount)
    unsafe base.copyMemory(from: other.base, byteCount: byteCount)
  }

  deinit {
    if byteCount >= Self.hugePage {
      unsafe munmap(base, byteCount)
    } else {
      unsafe base.deallocate()
    }
  }

  /// Anonymous pages that begin where a huge page does.
  private static func map(_ byteCount: Int) -> UnsafeMutableRawPointer {
    let flags = MAP_PRIVATE | MAP_ANONYMOUS
    guard
      let start = unsafe mmap(nil, byteCount + hugePage, PROT_READ | PROT_WRITE, flags, -1, 0),
      unsafe start != MAP_FAILED
    else { fatalError("The system refuses \(byteCount) bytes.") }
    let before = Int(bitPattern: start) & (hugePage - 1)
    let skipped = before == 0 ? 0 : hugePage - before
    let page = Int(sysconf(Int32(_SC_PAGESIZE)))
    // What lies before and behind goes back; whole pages only.
    let end = (skipped + byteCount + page - 1) / page * page
    if skipped > 0 { unsafe munmap(start, skipped) }
    if end < byteCount + hugePage {
      unsafe munmap(start + end, byteCount + hugePage - end)
    }
    unsafe madvise(start + skipped, byteCount / hugePage * hugePage, MADV_HUGEPAGE)
    return unsafe start + skipped
  }
}
