import OpenBLAS
import Testing

/// Wrong sizes stop the program by a sentence that names both shapes.
@Suite struct WrongSizeTests {
  @Test func matrixDoesNotFit() async throws {
    let result = try await #require(
      processExitsWith: .failure, observing: [\.standardErrorContent]
    ) {
      [Float](repeating: 0, count: 10).withUnsafeBufferPointer {
        _ = BLAS.Matrix($0, rows: 3, columns: 4)
      }
    }
    #expect(
      says(result, "BLAS.Matrix: 3 × 4 with leading dimension 4 does not fit in a buffer of 10"))
  }

  @Test func matrixOverflows() async throws {
    let result = try await #require(
      processExitsWith: .failure, observing: [\.standardErrorContent]
    ) {
      [Float](repeating: 0, count: 10).withUnsafeBufferPointer {
        _ = BLAS.Matrix($0, rows: 1 << 40, columns: 1 << 40)
      }
    }
    #expect(says(result, "larger than BLAS can address"))
  }

  @Test func leadingDimensionTooSmall() async throws {
    let result = try await #require(
      processExitsWith: .failure, observing: [\.standardErrorContent]
    ) {
      var elements = [Float](repeating: 0, count: 100)
      elements.withUnsafeMutableBufferPointer {
        _ = BLAS.MutableMatrix($0, rows: 3, columns: 4, leadingDimension: 3)
      }
    }
    #expect(says(result, "BLAS.MutableMatrix: 3 × 4 cannot have the leading dimension 3."))
  }

  @Test func vectorDoesNotFit() async throws {
    let result = try await #require(
      processExitsWith: .failure, observing: [\.standardErrorContent]
    ) {
      [Float](repeating: 0, count: 10).withUnsafeBufferPointer {
        _ = BLAS.Vector($0, count: 6, stride: 2)
      }
    }
    #expect(says(result, "BLAS.Vector: 6 elements with stride 2 do not fit in a buffer of 10"))
  }

  @Test func innerSizesDiffer() async throws {
    let result = try await #require(
      processExitsWith: .failure, observing: [\.standardErrorContent]
    ) {
      withMatrices { a, c in
        BLAS.sgemm(a(2, 3), a(4, 5), into: c(2, 5))
      }
    }
    #expect(says(result, "BLAS.sgemm: 2 × 3 cannot be multiplied by 4 × 5."))
  }

  @Test func resultSizeDiffers() async throws {
    let result = try await #require(
      processExitsWith: .failure, observing: [\.standardErrorContent]
    ) {
      withMatrices { a, c in
        BLAS.sgemm(a(3, 2).transposed, a(3, 5), into: c(5, 2))
      }
    }
    #expect(says(result, "BLAS.sgemm: 2 × 3 times 3 × 5 does not give 5 × 2."))
  }

  @Test func matrixCopyDiffers() async throws {
    let result = try await #require(
      processExitsWith: .failure, observing: [\.standardErrorContent]
    ) {
      withMatrices { a, c in BLAS.somatcopy(a(3, 2).transposed, to: c(3, 2)) }
    }
    #expect(says(result, "BLAS.somatcopy: 2 × 3 cannot be copied to 3 × 2."))
  }

  @Test func matrixVectorDiffers() async throws {
    let result = try await #require(
      processExitsWith: .failure, observing: [\.standardErrorContent]
    ) { _ = BLAS.sgemv([1, 2, 3, 4, 5], [1, 2], rows: 2) }
    #expect(says(result, "BLAS.sgemv: 5 elements are not 2 × 2."))
  }

  @Test func vectorsDiffer() async throws {
    let result = try await #require(
      processExitsWith: .failure, observing: [\.standardErrorContent]
    ) {
      let (x, y): ([Float], [Float]) = ([1, 2], [1, 2, 3])
      _ = BLAS.sdot(x.span, y.span)
    }
    #expect(says(result, "BLAS.sdot: the vectors have 2 and 3 elements."))
  }

  @Test func arraysDiffer() async throws {
    let result = try await #require(
      processExitsWith: .failure, observing: [\.standardErrorContent]
    ) { _ = BLAS.sgemm([1, 2], [1, 2], rows: 2, inner: 2, columns: 1) }
    #expect(
      says(result, "BLAS.sgemm: arrays of 2 and 2 elements are not 2 × 2 and 2 × 1."))
  }
}

/// Whether a child's standard error holds the sentence, and nothing of xerbla's.
private func says(_ result: ExitTest.Result, _ sentence: String) -> Bool {
  let text = String(decoding: result.standardErrorContent, as: UTF8.self)
  return text.contains(sentence) && !text.contains("parameter number")
}

/// Hands out views of any shape of up to 100 elements.
private func withMatrices(
  _ body: (
    (Int, Int) -> BLAS.Matrix<Float>, (Int, Int) -> BLAS.MutableMatrix<Float>
  ) -> Void
) {
  let a = [Float](repeating: 1, count: 100)
  var c = a
  a.withUnsafeBufferPointer { a in
    c.withUnsafeMutableBufferPointer { c in
      body(
        { BLAS.Matrix(a, rows: $0, columns: $1) },
        { BLAS.MutableMatrix(c, rows: $0, columns: $1) })
    }
  }
}
