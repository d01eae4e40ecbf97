import Foundation
import Testing

/// `experiment`: the list, one small run with its files, and mistakes.
@Suite struct ExperimentCommandTests {
  @Test func listsWhatThereIs() throws {
    let list = try Tool.succeed(["experiment", "list"]).output
    #expect(list.contains("convergence: With batch normalisation"))
    #expect(list.contains("statistics: "))
  }

  @Test func measuresAndWrites() throws {
    let folder = try TemporaryFolder()
    try folder.writeDataset()
    let output = folder.file("results/deeper")
    let outcome = try Tool.succeed([
      "experiment", "statistics", "--quick", "--seeds", "1", "--data", folder.path, "--output",
      output, "--json",
    ])
    let result = try outcome.object()
    #expect(result["name"] as? String == "statistics")
    #expect(result["scale"] as? String == "quick")
    let verdict = try #require(result["verdict"] as? [String: Any])
    #expect((verdict["sentence"] as? String)?.isEmpty == false)
    #expect(outcome.remarks.contains("decay 0.9, seed 1"))
    let file = try JSONSerialization.jsonObject(
      with: Data(folder.read("results/deeper/statistics.json")))
    #expect(file as? NSDictionary == result as NSDictionary)
    let figure = String(decoding: try folder.read("results/deeper/statistics.svg"), as: UTF8.self)
    #expect(figure.hasPrefix("<svg"))
  }

  @Test(arguments: [
    (["experiment", "no-such"], "there is no experiment no-such"),
    (["experiment", "dense", "--seeds", "0"], "--seeds takes a number"),
    (["experiment", "dense", "--data", "/no/such/folder"], "there is no such folder"),
    (["experiment", "dense", "--output", "/proc/none"], "/proc/none"),
  ])
  func refuses(arguments: [String], reason: String) throws {
    let outcome = try Tool.run(arguments)
    #expect(outcome.status != 0)
    #expect(outcome.remarks.contains(reason), "\(outcome.remarks)")
  }
}
