import ConvNet

/// A claim about batch normalisation that the product measures itself.
package protocol Experiment: Sendable {
  /// What the command line calls it.
  static var name: String { get }
}
