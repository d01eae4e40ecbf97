import CConvNetLAPACKE
import OpenBLAS

/// Eigenvalues and eigenvectors of a symmetric matrix, A = Vᵀ·diag(λ)·V.
package struct SymmetricEigenproblem: Sendable {
  /// λ, ascending.
  package var values: [Double]
  /// V, N × N: row i is the eigenvector of λᵢ; rows are orthonormal.
  package var vectors: [Double]
}

extension LAPACK {
  /// The eigenvalues and eigenvectors of a symmetric A of N × N (`dsyev`).
  ///
  /// Only the part on and below A's diagonal is read. Throws ``LAPACKError`` when the size does not
  /// fit, an element is not finite, or the iteration does not converge.
  package static func symmetricEigenproblem(
    order n: Int, _ matrix: [Double]
  ) throws -> SymmetricEigenproblem {
    try check("Eigenvalues", n, n, matrix)
    BLAS.bootstrap()
    var vectors = matrix
    var values = [Double](repeating: 0, count: n)
    var work = [Double](repeating: 0, count: symmetricEigenproblemWork(order: n))
    let status = vectors.withUnsafeMutableBufferPointer { a in
      values.withUnsafeMutableBufferPointer { w in
        work.withUnsafeMutableBufferPointer { work -> LAPACKInteger in
          guard let a = a.baseAddress, let w = w.baseAddress, let space = work.baseAddress else {
            return -1
          }
          return solveSymmetricEigenproblem(
            order: n, a, values: w, work: space, workCount: work.count)
        }
      }
    }
    try require("Eigenvalues", status)
    return SymmetricEigenproblem(values: values, vectors: vectors)
  }

  /// The elements of work space for `dsyev`: for a reduction to tridiagonal form in blocks of 32.
  package static func symmetricEigenproblemWork(order n: Int) -> Int { max(1, 34 * n) }

  /// Replaces A of N × N by its eigenvectors, a row each; allocates nothing and checks nothing.
  ///
  /// Only the part on and below A's diagonal is read; all of it must be finite. `dsyev` and not
  /// `dsyevd`, which needs Fortran's run-time library in a static executable. The caller has called
  /// `BLAS.bootstrap()` before. Gives 0, or a positive status where the iteration does not converge.
  package static func solveSymmetricEigenproblem(
    order n: Int, _ a: UnsafeMutablePointer<Double>, values: UnsafeMutablePointer<Double>,
    work: UnsafeMutablePointer<Double>, workCount: Int
  ) -> LAPACKInteger {
    // LAPACKE would transpose a row-major matrix into memory of its own. By columns, the lower part of
    // A is the upper one, and eigenvectors in columns are rows to us.
    LAPACKE_dsyev_work(
      LAPACK_COL_MAJOR, CChar(UInt8(ascii: "V")), CChar(UInt8(ascii: "U")), LAPACKInteger(n), a,
      LAPACKInteger(n), values, work, LAPACKInteger(workCount))
  }
}
