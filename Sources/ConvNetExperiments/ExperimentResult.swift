/// What an experiment came to: everything that tables, figures and documentation are made of.
package struct ExperimentResult: Sendable, Codable {
  /// One choice that the numbers depend on.
  package struct Setting: Hashable, Sendable, Codable {
    package var name: String
    package var value: String

    package init(_ name: String, _ value: String) {
      self.name = name
      self.value = value
    }
  }

  /// Rows under headings, as text.
  package struct Table: Hashable, Sendable, Codable {
    package var headings: [String]
    package var rows: [[String]]

    package init(_ headings: [String], _ rows: [[String]] = []) {
      self.headings = headings
      self.rows = rows
    }
  }

  package var name: String
  package var claim: Claim
  package var scale: ExperimentContext.Scale
  /// What everything random was drawn from; empty where nothing is, as in a comparison of times.
  package var seeds: [UInt64]
  package var settings: [Setting]
  package var table: Table
  package var figures: [Figure]
  package var verdict: Verdict
  /// What names mean, where an experiment is about names.
  package var names: Table?

  package init(
    _ experiment: some Experiment, _ context: ExperimentContext, settings: [Setting], table: Table,
    figures: [Figure], verdict: Verdict, names: Table? = nil, seeds: [UInt64]? = nil
  ) {
    name = experiment.name
    claim = experiment.claim
    scale = context.scale
    self.seeds = seeds ?? context.seeds
    self.settings = context.settings + settings
    self.table = table
    self.figures = figures
    self.verdict = verdict
    self.names = names
  }
}
