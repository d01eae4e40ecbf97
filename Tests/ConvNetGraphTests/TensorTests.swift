import ConvNetGraph
import Testing

@Suite struct TensorTests {
  @Test func isAValue() {
    let a = Tensor([1, 2, 3] as [Float])
    var b = a
    b.withMutableElements { (elements: inout MutableSpan<Float>) in elements[0] = 9 }
    #expect(a.floats == [1, 2, 3])
    #expect(b.floats == [9, 2, 3])
    #expect(a.storage !== b.storage)
  }

  @Test func writesInPlaceWhenAlone() {
    var a = Tensor([1, 2, 3] as [Float])
    let before = ObjectIdentifier(a.storage)
    a.withMutableElements { (elements: inout MutableSpan<Float>) in elements[2] = 0 }
    #expect(ObjectIdentifier(a.storage) == before)
  }

  @Test func isAlignedToACacheLine() {
    for count in [0, 1, 17] {
      let tensor = Tensor(zeros: [count])
      #expect(Int(bitPattern: tensor.storage.base) % 64 == 0)
      #expect(tensor.floats == [Float](repeating: 0, count: count))
    }
  }

  @Test func comparesBits() {
    #expect(Tensor([.nan] as [Float]) == Tensor([.nan] as [Float]))
    #expect(Tensor([0.0] as [Float]) != Tensor([-0.0] as [Float]))
    #expect(Tensor([1] as [Float]) != Tensor([1] as [Double]))
    #expect(Tensor([1, 2] as [Float]) != Tensor([1, 2] as [Float], shape: [2, 1]))
  }

  @Test func reshapesWithoutACopy() throws {
    let a = Tensor([1, 2, 3, 4, 5, 6] as [Int64])
    let b = try a.reshaped(to: [2, 3])
    #expect(b.shape == [2, 3])
    #expect(a.storage === b.storage)
    #expect(throws: GraphError.self) { try a.reshaped(to: [4]) }
  }

  @Test func convertsWithSaturation() {
    let x = Tensor([-1.9, 255.9, 256, 1e30, -1e30, .nan, .infinity] as [Double])
    #expect(
      x.converted(to: .uint8).elements(of: UInt8.self) == [0, 255, 255, 255, 0, 0, 255])
    #expect(
      x.converted(to: .int32).elements(of: Int32.self)
        == [-1, 255, 256, .max, .min, 0, .max])
    #expect(
      x.converted(to: .int64).elements(of: Int64.self) == [-1, 255, 256, .max, .min, 0, .max])
    #expect(
      Tensor([0, 0.5, .nan] as [Float]).converted(to: .bool).elements(of: Bool.self)
        == [false, true, true])
    #expect(Tensor([true, false]).doubles == [1, 0])
    #expect(x.converted(to: .float64) == x)
  }

  @Test func stopsWhenAskedForAnotherType() async {
    await #expect(processExitsWith: .failure) {
      _ = Tensor([1] as [Float]).elements(of: Double.self)
    }
    await #expect(processExitsWith: .failure) { _ = Tensor([1, 2] as [Float], shape: [3]) }
  }
}
