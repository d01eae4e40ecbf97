extension Network {
  /// MobileNet-V2 (Sandler, Howard, Zhu, Zhmoginov & Chen 2018, table 2) of width 1.
  static func mobilenetV2(_ x: Graph.Value, classes: Int, normalized: Bool) -> Graph.Value {
    let stages: [(expansion: Int, filters: Int, count: Int, stride: Int)] = [
      (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
      (6, 320, 1, 1),
    ]
    let features = x.scoped("features") { x in
      var y = x.scoped("0") {
        $0.namedUnit(32, kernel: 3, stride: 2, "0", "1", normalized: normalized).relu6()
      }
      var index = 1
      for stage in stages {
        for block in 0..<stage.count {
          y = y.scoped("\(index)") {
            $0.invertedResidual(
              stage.filters, expansion: stage.expansion, stride: block == 0 ? stage.stride : 1,
              normalized: normalized)
          }
          index += 1
        }
      }
      return y.scoped("\(index)") {
        $0.namedUnit(1280, kernel: 1, "0", "1", normalized: normalized).relu6()
      }
    }
    return features.globalAveragePooling().dropout(0.2).dense(classes, name: "classifier.1")
  }
}

extension Graph.Value {
  /// Expands channels, filters each by a 3 × 3 kernel of its own, projects without an activation, and adds
  /// the input where shapes allow.
  ///
  /// Sandler et al. 2018, figure 4 d and table 1. An expansion of 1 has no expanding convolution.
  package func invertedResidual(
    _ filters: Int, expansion: Int, stride: Int, normalized: Bool
  ) -> Graph.Value {
    let channels = type.dimensions.last?.extent ?? 1
    let hidden = channels * expansion
    let result = scoped("conv") { x in
      var (y, index) = (x, 0)
      if expansion != 1 {
        y = y.scoped("0") {
          $0.namedUnit(hidden, kernel: 1, "0", "1", normalized: normalized).relu6()
        }
        index = 1
      }
      return y.scoped("\(index)") {
        $0.namedUnit(
          hidden, kernel: 3, stride: stride, groups: hidden, "0", "1", normalized: normalized
        ).relu6()
      }
      .namedUnit(filters, kernel: 1, "\(index + 1)", "\(index + 2)", normalized: normalized)
    }
    return stride == 1 && channels == filters ? self + result : result
  }
}
