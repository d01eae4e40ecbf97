import CConvNetLoops
import ConvNetEngine
package import ConvNetGraph

/// The exponential moving average of a model in training (Polyak & Juditsky 1992): after each step
/// e ← e + (1 − d)·(w − e) for all weights and running statistics.
///
/// The decay grows from 1/10 with the number of steps t, d = min(decay, (1 + t)/(10 + t)), so that the
/// random weights a training starts from do not stay in the average. Counters are copied.
package final class WeightAverage {
  /// How much of the average survives a step, at most.
  package let decay: Double
  private(set) var store: ParameterStore
  private let graph: Graph

  /// Starts with a copy of the model.
  ///
  /// - Throws: `TrainingError` where the decay is not in 0..<1.
  init(_ model: Model, decay: Double) throws {
    guard (0..<1).contains(decay) else {
      throw TrainingError(.invalidOption, "a decay of averages of \(decay) is not in 0..<1")
    }
    self.decay = decay
    graph = model.graph
    store = ParameterStore(model)
  }

  /// 1 − d for a step, counted from 0.
  func take(at step: Int) -> Float {
    Float(1 - min(decay, Double(1 + step) / Double(10 + step)))
  }

  /// Moves the running statistics; weights have followed while the optimiser moved them.
  func followState(of other: ParameterStore, take: Float) {
    for state in graph.states {
      if state.role == .updateCount {
        store.setState(state.name, to: other.state(state.name))
      } else {
        let average = store.pointer(state.name)
        cnl_average(average.baseAddress, other.pointer(state.name).baseAddress, take, average.count)
      }
    }
    store.markChanged()
  }

  /// Takes an average back that a checkpoint held.
  ///
  /// - Throws: `TrainingError` where it is of another network.
  package func restore(_ model: Model) throws {
    guard model.graph == graph else {
      throw TrainingError(.mismatchedState, "the averaged weights are those of another network")
    }
    store = ParameterStore(model)
  }
}
