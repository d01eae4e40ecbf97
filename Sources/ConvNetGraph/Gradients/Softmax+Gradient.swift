extension Operation {
  /// For y = softmax(x) over the last axis: dx = y·(dy − Σ dy·y).
  func differentiateSoftmax(_ step: inout GradientStep) {
    step.contribute(to: 0) { $0.softmaxGradient($0.gradient(), y: $0.output()) }
  }
}

extension SoftmaxCrossEntropy {
  /// dx = d(loss)·(softmax(x) − q).
  func differentiate(_ step: inout GradientStep) {
    step.contribute(to: 0) {
      $0.add(.softmaxCrossEntropyGradient(self), $0.gradient(), $0.input(0), $0.input(1))
    }
  }

  /// dx = d(loss)·(softmax(x) − q) is linear in d(loss), with the gradient Σ g·(softmax(x) − q), and
  /// depends on x through the softmax.
  func differentiateGradient(_ step: inout GradientStep) {
    let (loss, x, labels) = (step.input(0), step.input(1), step.input(2))
    step.contribute(to: 0) {
      let ones = $0.add(.fill(1), loss)
      let difference = $0.add(.softmaxCrossEntropyGradient(self), ones, x, labels)
      return $0.sumOverLast($0.multiply($0.gradient(), difference), keepsAxes: false)
    }
    step.contribute(to: 1) {
      let rows = $0.add(.expand(Reduce(.sum, axes: [-1])), loss, x)
      return $0.softmaxGradient($0.multiply($0.gradient(), rows), y: $0.add(.softmax, x))
    }
  }
}

extension GradientStep {
  fileprivate func softmaxGradient(_ dy: Graph.ValueID, y: Graph.ValueID) -> Graph.ValueID {
    let mean = sumOverLast(multiply(dy, y), keepsAxes: true)
    return multiply(y, add(.combine(.subtract), dy, mean))
  }
}
