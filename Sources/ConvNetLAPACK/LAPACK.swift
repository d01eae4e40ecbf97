package import CConvNetLAPACKE
import OpenBLAS

/// LAPACK's integer: 32 bits, or 64 in the builds named so.
package typealias LAPACKInteger = convnet_lapack_int

/// A factorisation that cannot be computed.
package struct LAPACKError: Error, Equatable, CustomStringConvertible {
  /// What is wrong, as a sentence.
  package let description: String

  /// An error of the given sentence.
  package init(description: String) { self.description = description }
}

/// The few decompositions that ConvNet needs, by LAPACKE; all matrices dense and row-major.
package enum LAPACK {
  /// A number type that LAPACK knows.
  package protocol Element: BinaryFloatingPoint, Sendable {
    /// Householder vectors below, R on and above the diagonal (`?geqrf`); the status.
    static func factorQR(
      _ m: LAPACKInteger, _ n: LAPACKInteger, _ a: inout [Self], _ tau: inout [Self]
    ) -> LAPACKInteger
    /// The first columns of Q from those vectors (`?orgqr`); the status.
    static func formQ(
      _ m: LAPACKInteger, _ n: LAPACKInteger, _ a: inout [Self], leading: LAPACKInteger,
      _ tau: [Self]
    ) -> LAPACKInteger
    /// The lower Cholesky factor, above the diagonal unchanged (`?potrf`); the status.
    static func factorCholesky(_ n: LAPACKInteger, _ a: inout [Self]) -> LAPACKInteger
  }

  /// The thin QR factorisation A = Q·R of A of M × N, with K = min(M, N).
  ///
  /// Q is M × K with orthonormal columns and R is K × N, zero below its diagonal, whose signs are
  /// LAPACK's (Q times those signs is Haar-distributed for Gaussian A: Mezzadri 2007). Throws
  /// ``LAPACKError`` when the sizes do not fit or an element is not finite.
  package static func qr<T: Element>(
    rows m: Int, columns n: Int, _ matrix: [T]
  ) throws -> (q: [T], r: [T]) {
    try check("QR", m, n, matrix)
    BLAS.bootstrap()
    let k = min(m, n)
    var a = matrix
    var tau = [T](repeating: 0, count: k)
    try require("QR", T.factorQR(LAPACKInteger(m), LAPACKInteger(n), &a, &tau))
    var r = [T](repeating: 0, count: k * n)
    for i in 0..<k {
      for j in i..<n { r[i * n + j] = a[i * n + j] }
    }
    try require(
      "QR", T.formQ(LAPACKInteger(m), LAPACKInteger(k), &a, leading: LAPACKInteger(n), tau))
    if k == n { return (a, r) }
    let q = (0..<m).flatMap { a[$0 * n..<$0 * n + k] }
    return (q, r)
  }

  /// The lower factor L of a symmetric positive definite A = L·Lᵀ of N × N.
  ///
  /// Only A's lower half is read. Throws ``LAPACKError`` when the size does not fit, an element is not
  /// finite, or A is not positive definite.
  package static func cholesky<T: Element>(order n: Int, _ matrix: [T]) throws -> [T] {
    try check("Cholesky", n, n, matrix)
    BLAS.bootstrap()
    var a = matrix
    let status = T.factorCholesky(LAPACKInteger(n), &a)
    if status > 0 {
      throw LAPACKError(
        description: "Cholesky: the leading \(status) × \(status) part of the \(n) × \(n) matrix "
          + "is not positive definite")
    }
    try require("Cholesky", status)
    for i in 0..<n {
      for j in i + 1..<n { a[i * n + j] = 0 }
    }
    return a
  }

  static func check<T: Element>(
    _ name: String, _ m: Int, _ n: Int, _ matrix: [T]
  ) throws {
    let size = m.multipliedReportingOverflow(by: n)
    guard m >= 1, n >= 1, max(m, n) <= Int(LAPACKInteger.max), !size.overflow,
      size.partialValue == matrix.count
    else {
      throw LAPACKError(description: "\(name): \(matrix.count) elements are not \(m) × \(n)")
    }
    if let bad = matrix.firstIndex(where: { !$0.isFinite }) {
      throw LAPACKError(
        description: "\(name): element (\(bad / n), \(bad % n)) of \(m) × \(n) is \(matrix[bad])")
    }
  }

  /// Negative statuses are arguments that the checks above let through, or a failed allocation.
  static func require(_ name: String, _ status: LAPACKInteger) throws {
    if status != 0 {
      throw LAPACKError(description: "\(name): LAPACK failed with status \(status)")
    }
  }
}

extension Float: LAPACK.Element {
  package static func factorQR(
    _ m: LAPACKInteger, _ n: LAPACKInteger, _ a: inout [Self], _ tau: inout [Self]
  ) -> LAPACKInteger { LAPACKE_sgeqrf(LAPACK_ROW_MAJOR, m, n, &a, n, &tau) }

  package static func formQ(
    _ m: LAPACKInteger, _ n: LAPACKInteger, _ a: inout [Self], leading: LAPACKInteger, _ tau: [Self]
  ) -> LAPACKInteger { LAPACKE_sorgqr(LAPACK_ROW_MAJOR, m, n, n, &a, leading, tau) }

  package static func factorCholesky(_ n: LAPACKInteger, _ a: inout [Self]) -> LAPACKInteger {
    LAPACKE_spotrf(LAPACK_ROW_MAJOR, CChar(UInt8(ascii: "L")), n, &a, n)
  }
}

extension Double: LAPACK.Element {
  package static func factorQR(
    _ m: LAPACKInteger, _ n: LAPACKInteger, _ a: inout [Self], _ tau: inout [Self]
  ) -> LAPACKInteger { LAPACKE_dgeqrf(LAPACK_ROW_MAJOR, m, n, &a, n, &tau) }

  package static func formQ(
    _ m: LAPACKInteger, _ n: LAPACKInteger, _ a: inout [Self], leading: LAPACKInteger, _ tau: [Self]
  ) -> LAPACKInteger { LAPACKE_dorgqr(LAPACK_ROW_MAJOR, m, n, n, &a, leading, tau) }

  package static func factorCholesky(_ n: LAPACKInteger, _ a: inout [Self]) -> LAPACKInteger {
    LAPACKE_dpotrf(LAPACK_ROW_MAJOR, CChar(UInt8(ascii: "L")), n, &a, n)
  }
}
