import CConvNetLoops
import Testing

/// Parent of all suites here.
///
/// A variant is selected for the thread that a test runs on, until it ends; the memory of a test is
/// shared, so tests run one after another.
@Suite(.serialized) struct LoopTests {
  /// Vector widths are 4, 8 and 16; unrolled groups reach 64 and 128.
  static let sizes = [0, 1, 7, 15, 16, 17, 31, 33, 63, 64, 65, 100, 130]
  static let channels = [1, 2, 3, 6, 8, 12, 15, 16, 17, 24, 32, 33, 48, 63, 64, 65, 100, 130]

  @Test func theDefaultIsTheBestSupportedVariant() {
    let count = cnl_variant_count()
    #expect(cnl_variant_supported(0) == 1)
    #expect(cnl_variant_supported(-1) == 0 && cnl_variant_supported(count) == 0)
    #expect(cnl_variant_select(count) == -1)
    for variant in Variant.all {
      variant.select()
      defer { Variant.deselect() }
      #expect(cnl_variant_current() == variant.number)
    }
    #expect(String(cString: cnl_variant_name(0)) == "plain")
  }
}

/// A variant this processor runs; an argument of every test.
struct Variant: CustomTestStringConvertible, Sendable {
  let number: Int32

  static let all = (0..<cnl_variant_count()).filter { cnl_variant_supported($0) == 1 }
    .map(Variant.init)

  var testDescription: String { String(cString: cnl_variant_name(number)) }

  /// Begins a case: the memory of the case before it is returned.
  func select() {
    Memory.release()
    #expect(cnl_variant_select(number) == 0)
  }

  /// Ends a case: the thread goes back to the variant that everyone else uses.
  static func deselect() { cnl_variant_deselect() }
}

/// Memory of the running case.
///
/// It outlives every `Buffer`, so that `Buffer(…).pointer` may be passed on directly. Safe because
/// the suite is serialized.
private enum Memory {
  private nonisolated(unsafe) static var blocks: [UnsafeMutableRawPointer] = []

  static func allocate(_ bytes: Int) -> UnsafeMutableRawPointer {
    let block = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: 64)
    blocks.append(block)
    return block
  }

  static func release() {
    for block in blocks { block.deallocate() }
    blocks = []
  }
}

/// Elements at an address that is 4 modulo 64 (or 0 when asked for), between canaries.
struct Buffer<Element: BitwiseCopyable & Equatable> {
  let count: Int
  private let margin = 32
  private let canary: Element
  let pointer: UnsafeMutablePointer<Element>

  init(_ values: [Element], canary: Element, aligned: Bool = false) {
    count = values.count
    self.canary = canary
    let stride = MemoryLayout<Element>.stride
    let offset = 128 + (aligned ? 0 : stride)
    let memory = Memory.allocate((count + margin) * stride + offset)
    pointer = (memory + offset).bindMemory(to: Element.self, capacity: count + margin)
    for i in 0..<margin { (pointer + count + i).initialize(to: canary) }
    (pointer - 1).initialize(to: canary)
    for (i, value) in values.enumerated() { (pointer + i).initialize(to: value) }
  }

  var values: [Element] { (0..<count).map { pointer[$0] } }
  var isIntact: Bool {
    pointer[-1] == canary && (0..<margin).allSatisfy { pointer[count + $0] == canary }
  }
}

extension Buffer where Element == Float {
  init(_ values: [Float], aligned: Bool = false) {
    self.init(values, canary: 12_345_678, aligned: aligned)
  }
  init(count: Int, aligned: Bool = false) {
    self.init(Array(repeating: 7_654_321, count: count), aligned: aligned)
  }
}

/// SplitMix64 with a fixed seed: the data of a test never changes.
struct Noise {
  private var state: UInt64
  init(_ seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  /// Whole numbers in −limit … limit: sums of products are exact in Float.
  mutating func integers(_ count: Int, limit: Int = 4) -> [Float] {
    (0..<count).map { _ in Float(Int(next() % UInt64(2 * limit + 1)) - limit) }
  }

  mutating func floats(_ count: Int, scale: Float = 1) -> [Float] {
    (0..<count).map { _ in (Float(next() >> 40) * 0x1p-23 - 1) * scale }
  }
}

/// Records the first element farther from `want` than `bound(want)`; NaN must meet NaN.
func check(
  _ got: Buffer<Float>, _ want: [Double], _ what: @autoclosure () -> String,
  bound: (Int, Double) -> Double = { _, _ in 0 },
  sourceLocation: SourceLocation = #_sourceLocation
) {
  #expect(got.isIntact, "\(what()): wrote outside", sourceLocation: sourceLocation)
  #expect(got.count == want.count, sourceLocation: sourceLocation)
  for i in 0..<min(got.count, want.count) {
    let value = Double(got.pointer[i])
    if value == want[i] || (value.isNaN && want[i].isNaN) { continue }
    if abs(value - want[i]) <= bound(i, want[i]) { continue }
    Issue.record(
      "\(what()): element \(i) is \(value), expected \(want[i])", sourceLocation: sourceLocation)
    return
  }
}

/// Bound of `n` units in the last place of a normal result.
func ulps(_ n: Double) -> (Int, Double) -> Double {
  { _, want in n * Double(max(abs(Float(want)), Float.leastNormalMagnitude).ulp) }
}
