/// A claim about batch normalisation that the product measures itself.
///
/// Everything random in an experiment is drawn from the context's seeds; only experiments about cost look
/// at the clock. So a run repeats to the bit for any number of lanes.
package protocol Experiment: Sendable {
  /// What the command line and files call it.
  var name: String { get }
  /// What is claimed, and who claims it.
  var claim: Claim { get }
  /// Measures the claim.
  func run(_ context: ExperimentContext) throws -> ExperimentResult
}

/// What an experiment is about.
package struct Claim: Hashable, Sendable, Codable {
  /// The claim, as a sentence.
  package var text: String
  /// Where it is from.
  package var source: String

  package init(_ text: String, source: String) {
    self.text = text
    self.source = source
  }
}

/// Everything that can be measured.
package enum Experiments {
  /// All of them, in the order of a reader's questions.
  package static let all: [any Experiment] = [
    ConvergenceExperiment(), LearningRateExperiment(), GradientExperiment(),
    GeneralizationExperiment(), DenseExperiment(), BatchSizeExperiment(), StatisticsExperiment(),
    CostExperiment(), SequenceExperiment(), WhiteningExperiment(), SampleLayerExperiment(),
  ]

  /// The experiment of a name.
  package static func named(_ name: String) -> (any Experiment)? {
    all.first { $0.name == name }
  }

  /// Runs some experiments one after the other; one that fails takes no other with it.
  ///
  /// - Parameters:
  ///   - show: gets each result as soon as it is there.
  ///   - fail: gets what went wrong with an experiment, `show` included.
  package static func run(
    _ experiments: [any Experiment], in context: ExperimentContext,
    show: (ExperimentResult) throws -> Void, fail: (_ name: String, _ error: any Error) -> Void
  ) {
    for experiment in experiments {
      do { try show(experiment.run(context)) } catch { fail(experiment.name, error) }
    }
  }
}
