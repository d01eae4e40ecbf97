/// Lets the backward pass read an activation's output in place of its input.
///
/// Pattern: `derivative(f)(dy, x)` where `y = map(f)(x)` exists, f one of ReLU, ReLU6, leaky ReLU with a
/// positive slope, clip. Then x is replaced by y.
///
/// Proof: each of these f is monotone and f′ depends only on which linear piece x lies in. On the open
/// middle piece f(x) = x, so y lies in it too; at and outside its ends y is the end itself, where f′ is
/// defined as outside (0, or the slope); for leaky ReLU the sign of y is that of x. So f′(y) = f′(x).
/// NaN stays NaN. The input then has one reader fewer, which lets it be fused away.
package struct ReuseActivationOutputs: GraphPass {
  package init() {}

  package var name: String { "reuse activation outputs" }

  package func apply(to graph: Graph) throws -> Graph {
    var graph = graph
    var outputs: [Application: Graph.ValueID] = [:]
    for index in graph.nodes.indices {
      let node = graph.nodes[index]
      switch node.operation {
      case .map(let function) where Self.keepsItsPieces(function):
        outputs[Application(function: function, input: node.inputs[0])] = node.outputs[0]
      case .combine(.derivative(let function)):
        let application = Application(function: function, input: node.inputs[1])
        if let output = outputs[application] { graph.nodes[index].inputs[1] = output }
      default: break
      }
    }
    return graph
  }

  private struct Application: Hashable {
    var function: UnaryFunction
    var input: Graph.ValueID
  }

  private static func keepsItsPieces(_ function: UnaryFunction) -> Bool {
    switch function {
    case .relu, .relu6: true
    case .leakyRelu(let slope): slope > 0
    case .clip(let low, let high): low < high
    default: false
    }
  }
}
