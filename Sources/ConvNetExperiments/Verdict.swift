/// Whether a claim held, as the numbers say.
package struct Verdict: Hashable, Sendable, Codable {
  package enum Outcome: String, Hashable, Sendable, Codable {
    case held = "Held"
    case heldInPart = "Held in part"
    case didNotHold = "Did not hold"
  }

  /// One thing that the claim implies, measured.
  package struct Check: Hashable, Sendable, Codable {
    /// What was measured, with numbers; true whether or not the check passed.
    package var statement: String
    /// Whether it is as the claim says.
    package var holds: Bool

    package init(_ statement: String, _ holds: Bool) {
      self.statement = statement
      self.holds = holds
    }
  }

  package let outcome: Outcome
  package let checks: [Check]
  /// The outcome and all statements.
  package let sentence: String

  package init(_ checks: [Check]) {
    self.checks = checks
    let (good, bad) = (checks.filter(\.holds), checks.filter { !$0.holds })
    outcome = bad.isEmpty ? .held : good.isEmpty ? .didNotHold : .heldInPart
    func list(_ checks: [Check]) -> String { checks.map(\.statement).joined(separator: "; ") }
    let parts = [list(good), list(bad)].filter { !$0.isEmpty }
    sentence = "\(outcome.rawValue): \(parts.joined(separator: "; against the claim, "))."
  }
}
