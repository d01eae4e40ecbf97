import CConvNetLoops
import Testing

extension LoopTests {
  /// Once-per-channel arithmetic in Double, against the formulas; every variant does the same operations,
  /// so results agree to a rounding of float or two of Double (fused multiply-adds).
  @Suite struct BatchCoefficientTests {
    struct Data {
      var mean: [Double]
      var m2: [Double]
      var scale: [Float]
      var shift: [Float]
      let count = 50.0
      let epsilon = 1e-5

      init(_ channels: Int) {
        var noise = Noise(60)
        mean = noise.integers(channels).map { Double($0) * 1.3 + 0.1 }
        // Some channels are constant.
        m2 = noise.integers(channels).map { Double($0 * $0) * 2.7 }
        scale = noise.integers(channels)
        shift = noise.integers(channels)
      }

      func root(_ c: Int) -> Double { (m2[c] / count + epsilon).squareRoot() }
    }

    @Test(arguments: Variant.all, LoopTests.channels)
    func scaleAndShift(variant: Variant, channels: Int) {
      variant.select()
      defer { Variant.deselect() }
      let d = Data(channels)
      let (m, a, b) = (Buffer(count: channels), Buffer(count: channels), Buffer(count: channels))
      for centres in [Int32(0), 1] {
        cnl_normalize_coefficients(
          m.pointer, a.pointer, b.pointer, d.mean, d.m2, d.count, d.scale, d.shift, d.epsilon,
          centres, channels)
        for c in 0..<channels {
          let factor = d.m2[c] == 0 ? 0 : Double(d.scale[c]) / d.root(c)
          #expect(m.pointer[c] == (centres == 1 ? Float(d.mean[c]) : 0))
          #expect(a.pointer[c] == Float(factor))
          let offset =
            Double(d.shift[c]) - Double(Float(factor)) * (d.mean[c] - Double(m.pointer[c]))
          #expect(abs(Double(b.pointer[c]) - offset) <= abs(offset) * 0x1p-23)
        }
        #expect(m.isIntact && a.isIntact && b.isIntact)
      }
    }

    @Test(arguments: Variant.all, LoopTests.channels)
    func gradients(variant: Variant, channels: Int) {
      variant.select()
      defer { Variant.deselect() }
      let d = Data(channels)
      let sumG = d.shift.map { Double($0) + 0.5 }
      let sumGX = d.scale.map { Double($0) - 0.25 }
      var dScale = sumGX
      cnl_gradient_sums_finish(&dScale, sumG, d.mean, d.m2, d.count, d.epsilon, channels)
      let buffers = (0..<4).map { _ in Buffer(count: channels) }
      for centres in [Int32(0), 1] {
        cnl_gradient_coefficients(
          buffers[0].pointer, buffers[1].pointer, buffers[2].pointer, buffers[3].pointer, d.mean,
          d.m2, d.count, d.scale, sumG, dScale, d.epsilon, centres, channels)
        for c in 0..<channels {
          let sum = sumGX[c] - (d.mean[c] - Double(Float(d.mean[c]))) * sumG[c]
          #expect(abs(dScale[c] - sum / d.root(c)) <= abs(sum / d.root(c)) * 0x1p-48)
          let m = centres == 1 ? Double(Float(d.mean[c])) : 0
          let a = Double(d.scale[c]) / d.root(c)
          let b = -a / d.root(c) * dScale[c] / d.count
          let k = -a * sumG[c] / d.count - Double(Float(b)) * (d.mean[c] - m)
          let got = buffers.map { Double($0.pointer[c]) }
          #expect(got[0] == m)
          #expect(abs(got[1] - a) <= abs(a) * 0x1p-23)
          #expect(abs(got[2] - b) <= abs(b) * 0x1p-23)
          // b may round either way where its last bit of Double decides.
          let bound = (abs(k) + abs(b * (d.mean[c] - m))) * 0x1p-22
          #expect(abs(got[3] - k) <= bound)
        }
        let areIntact = buffers.allSatisfy { $0.isIntact }
        #expect(areIntact)
      }
    }

    @Test(arguments: Variant.all, LoopTests.channels)
    func sumsInDouble(variant: Variant, channels: Int) {
      variant.select()
      defer { Variant.deselect() }
      let d = Data(channels)
      var sums = d.mean
      cnl_accumulate_doubles(&sums, d.scale, channels)
      cnl_add_doubles(&sums, d.m2, channels)
      #expect(sums == (0..<channels).map { d.mean[$0] + Double(d.scale[$0]) + d.m2[$0] })
    }

    @Test(arguments: Variant.all) func farShift(variant: Variant) {
      variant.select()
      defer { Variant.deselect() }
      // 33 deviations away in one channel; a constant channel is never far.
      for (mean, m2, far) in [(33.0, 50.0, 1), (31, 50, 0), (33, 0, 0)] as [(Double, Double, Int32)]
      {
        #expect(cnl_shift_is_far([0, 0], [0, mean], [1, m2], 50, 2) == far)
      }
    }
  }
}
